"""Sentences of ten languages: a time phrase before a clause, written by us, with some of each held out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Language:
    """`voices`: espeak-ng voices; a sentence is one of `times` followed by one of `clauses`.

    The last `HELD_TIMES` times and `HELD_CLAUSES` clauses are spoken in unseen clips only.
    """

    voices: tuple[str, ...]
    times: tuple[str, ...]
    clauses: tuple[str, ...]
    joiner: str = " "


HELD_TIMES = 1
HELD_CLAUSES = 3


def _lines(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


LANGUAGES: dict[str, Language] = {
    "English": Language(("en-us", "en-gb-x-rp", "en-gb-scotland", "en"), (), ()),
    "German": Language(
        ("de",),
        _lines(
            "heute morgen | am abend | nach der arbeit | im sommer | am wochenende | jeden montag | im nächsten jahr"
        ),
        _lines(
            "gehen wir in den garten | kaufe ich brot und käse auf dem markt | fährt der zug nach berlin "
            "| spielen die kinder vor dem haus | schreibt meine schwester einen langen brief | kocht er "
            "eine suppe mit kartoffeln | liest sie ein buch über schiffe | regnet es in den bergen | "
            "besuchen uns die nachbarn | ist das wetter sehr schön | suche ich meinen schlüssel | trinken "
            "wir tee in der küche | repariert mein vater das alte fahrrad"
        ),
    ),
    "Spanish": Language(
        ("es", "es-419"),
        _lines(
            "esta mañana | por la noche | después del trabajo | en verano | el fin de semana | todos los "
            "lunes | el año que viene"
        ),
        _lines(
            "vamos al jardín con los niños | compro pan y queso en el mercado | el tren sale hacia la "
            "costa | mi hermana escribe una carta muy larga | él cocina una sopa de verduras | ella lee "
            "un libro sobre el mar | llueve mucho en las montañas | los vecinos nos visitan | hace muy "
            "buen tiempo | busco las llaves de la casa | tomamos café en la cocina | mi padre arregla la "
            "bicicleta vieja | la ventana queda abierta toda la tarde"
        ),
    ),
    "French": Language(
        ("fr", "fr-be"),
        _lines(
            "ce matin | le soir | après le travail | en été | pendant le week-end | tous les lundis | l'année prochaine"
        ),
        _lines(
            "nous allons dans le jardin | j'achète du pain et du fromage au marché | le train part pour "
            "la mer | les enfants jouent devant la maison | ma sœur écrit une longue lettre | il prépare "
            "une soupe aux légumes | elle lit un livre sur les bateaux | il pleut beaucoup dans les "
            "montagnes | les voisins viennent nous voir | il fait très beau | je cherche les clés de la "
            "maison | nous buvons du café dans la cuisine | mon père répare le vieux vélo"
        ),
    ),
    "Italian": Language(
        ("it",),
        _lines(
            "questa mattina | la sera | dopo il lavoro | in estate | nel fine settimana | ogni lunedì | l'anno prossimo"
        ),
        _lines(
            "andiamo in giardino con i bambini | compro il pane e il formaggio al mercato | il treno "
            "parte per il mare | mia sorella scrive una lunga lettera | lui cucina una zuppa di verdure | "
            "lei legge un libro sulle navi | piove molto in montagna | i vicini vengono a trovarci | il "
            "tempo è molto bello | cerco le chiavi di casa | beviamo il caffè in cucina | mio padre "
            "ripara la vecchia bicicletta | la finestra resta aperta tutto il giorno"
        ),
    ),
    "Portuguese": Language(
        ("pt", "pt-br"),
        _lines(
            "hoje de manhã | à noite | depois do trabalho | no verão | no fim de semana | todas as "
            "segundas | no próximo ano"
        ),
        _lines(
            "vamos ao jardim com as crianças | compro pão e queijo no mercado | o comboio parte para a "
            "praia | a minha irmã escreve uma carta comprida | ele cozinha uma sopa de legumes | ela lê "
            "um livro sobre o mar | chove muito nas montanhas | os vizinhos vêm visitar-nos | o tempo "
            "está muito bom | procuro as chaves da casa | bebemos café na cozinha | o meu pai arranja a "
            "bicicleta velha | a janela fica aberta toda a tarde"
        ),
    ),
    "Dutch": Language(
        ("nl",),
        _lines("vanmorgen | in de avond | na het werk | in de zomer | in het weekend | elke maandag | volgend jaar"),
        _lines(
            "gaan we naar de tuin | koop ik brood en kaas op de markt | vertrekt de trein naar de kust | "
            "spelen de kinderen voor het huis | schrijft mijn zus een lange brief | kookt hij een soep "
            "met groente | leest zij een boek over schepen | regent het in de bergen | komen de buren op "
            "bezoek | is het weer erg mooi | zoek ik de sleutels van het huis | drinken we koffie in de "
            "keuken | maakt mijn vader de oude fiets"
        ),
    ),
    "Russian": Language(
        ("ru",),
        _lines("сегодня утром | вечером | после работы | летом | в выходные | каждый понедельник | в следующем году"),
        _lines(
            "мы идём в сад с детьми | я покупаю хлеб и сыр на рынке | поезд идёт к морю | моя сестра "
            "пишет длинное письмо | он варит суп из овощей | она читает книгу о кораблях | в горах идёт "
            "дождь | к нам приходят соседи | стоит очень хорошая погода | я ищу ключи от дома | мы пьём "
            "чай на кухне | мой отец чинит старый велосипед | окно открыто весь день"
        ),
    ),
    "Chinese": Language(
        ("cmn",),
        _lines("今天早上 | 晚上 | 下班以后 | 夏天 | 周末 | 每个星期一 | 明年"),
        _lines(
            "我们去花园散步 | 我在市场买面包和水果 | 火车开往北京 | 孩子们在门前玩 | 我的姐姐写了一封长信 "
            "| 他在家里做饭 | 她看一本关于大海的书 | 山里下了很多雨 | 邻居来看我们 | 天气非常好 | "
            "我在找房子的钥匙 | 我们在厨房里喝茶 | 我的父亲修理旧自行车"
        ),
        "",
    ),
    "Japanese": Language(
        ("ja",),
        _lines("けさ | よるに | しごとのあと | なつに | しゅうまつに | まいしゅう | らいねん"),
        _lines(
            "わたしたちはにわへいきます | いちばでパンとくだものをかいます | でんしゃはうみへむかいます | "
            "こどもたちはいえのまえであそびます | あねはながいてがみをかきます | "
            "かれはやさいのスープをつくります | かのじょはふねのほんをよみます | "
            "やまであめがたくさんふります | となりのひとがたずねてきます | てんきはとてもいいです | "
            "いえのかぎをさがしています | だいどころでおちゃをのみます | "
            "ちちはふるいじてんしゃをなおします"
        ),
        "、",
    ),
}
"""Language -> how to say something in it. English sentences come from `sentences.py`."""


def foreign_sentence(rng: np.random.Generator, name: str, seen: bool) -> str:
    """A sentence of a language other than English, from its train part or its held-out part."""
    language = LANGUAGES[name]
    times = language.times[:-HELD_TIMES] if seen else language.times[-HELD_TIMES:]
    clauses = language.clauses[:-HELD_CLAUSES] if seen else language.clauses[-HELD_CLAUSES:]
    clause = clauses[int(rng.integers(len(clauses)))]
    if rng.random() < 0.25:
        return clause
    return times[int(rng.integers(len(times)))] + language.joiner + clause
