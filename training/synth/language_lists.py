"""Word lists of the languages: who, what they do, where, when. Written for this project; no sentence is anybody's."""


def _lines(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


def _lists(who: str, does: str, where: str, when: str) -> tuple[tuple[str, ...], ...]:
    return _lines(who), _lines(does), _lines(where), _lines(when)


LISTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "English": _lists(
        "the old farmer | my cousin | a tall stranger | our neighbour | the young lady | his uncle | "
        "everybody | "
        "some engineer | the clever student | a lonely sailor",
        "buys fresh bread | reads a thick book | repairs the broken bicycle | writes long letters | "
        "sings a quiet song | "
        "waits for the last bus | drinks black tea | paints the wooden fence | looks for the keys | "
        "sells cheap shoes | "
        "bakes a chocolate cake | counts the sheep | opens every window | carries heavy bags | "
        "forgets the ticket",
        "at the market | in the big house | near the station | behind the church | on the hill | "
        "beside the lake | "
        "under the bridge | in the library",
        "every morning | before lunch | on sunday | during the holidays | late at night | after work | "
        "in autumn | "
        "twice a week",
    ),
    "German": _lists(
        "der alte mann | meine schwester | unser lehrer | ein fremder junge | die nachbarin | "
        "mein großvater | "
        "der bäcker | das kleine mädchen | der junge arzt | eine müde frau",
        "kauft frisches brot | liest ein dickes buch | repariert das fahrrad | "
        "schreibt einen langen brief | "
        "singt ein leises lied | wartet auf den zug | trinkt schwarzen kaffee | streicht den zaun | "
        "sucht den schlüssel | "
        "verkauft schuhe | backt einen kuchen | zählt die schafe | öffnet jedes fenster | "
        "schleppt schwere taschen | "
        "vergisst die fahrkarte",
        "auf dem markt | in der küche | am bahnhof | hinter der kirche | auf dem hügel | neben dem see | "
        "unter der brücke | zwischen den häusern",
        "jeden morgen | vor dem essen | am sonntag | in den ferien | spät in der nacht | "
        "nach der arbeit | "
        "im herbst | zweimal pro woche",
    ),
    "Dutch": _lists(
        "de oude man | mijn zus | onze leraar | een vreemde jongen | de buurvrouw | mijn opa | "
        "de bakker | "
        "het kleine meisje | de jonge dokter | een moeie vrouw",
        "koopt vers brood | leest een dik boek | repareert de fiets | schrijft een lange brief | "
        "zingt een zacht liedje | "
        "wacht op de trein | drinkt zwarte koffie | schildert het hek | zoekt de sleutels | "
        "verkoopt schoenen | "
        "bakt een taart | telt de schapen | opent elk raam | draagt zware tassen | vergeet het kaartje",
        "op de markt | in de keuken | bij het station | achter de kerk | op de heuvel | naast het meer | "
        "onder de brug | tussen de huizen",
        "elke ochtend | voor het eten | op zondag | in de vakantie | laat in de nacht | na het werk | "
        "in de herfst | "
        "twee keer per week",
    ),
    "Spanish": _lists(
        "el viejo campesino | mi hermana | nuestro maestro | un chico extraño | la vecina | mi abuelo | "
        "el panadero | "
        "la niña pequeña | el joven médico | una mujer cansada",
        "compra pan fresco | lee un libro grueso | arregla la bicicleta | escribe una carta larga | "
        "canta una canción tranquila | espera el último tren | bebe café negro | pinta la valla | "
        "busca las llaves | "
        "vende zapatos baratos | prepara un pastel | cuenta las ovejas | abre todas las ventanas | "
        "lleva bolsas pesadas | olvida el billete",
        "en el mercado | en la cocina | cerca de la estación | detrás de la iglesia | en la colina | "
        "junto al lago | "
        "debajo del puente | entre las casas",
        "cada mañana | antes de comer | el domingo | durante las vacaciones | muy tarde por la noche | "
        "después del trabajo | en otoño | dos veces por semana",
    ),
    "Portuguese": _lists(
        "o velho agricultor | a minha irmã | o nosso professor | um rapaz estranho | a vizinha | "
        "o meu avô | "
        "o padeiro | a menina pequena | o jovem médico | uma mulher cansada",
        "compra pão fresco | lê um livro grosso | conserta a bicicleta | escreve uma carta comprida | "
        "canta uma canção baixinho | espera pelo último comboio | bebe café preto | pinta a cerca | "
        "procura as chaves | "
        "vende sapatos baratos | faz um bolo | conta as ovelhas | abre todas as janelas | "
        "carrega sacos pesados | "
        "esquece o bilhete",
        "no mercado | na cozinha | perto da estação | atrás da igreja | na colina | junto ao lago | "
        "debaixo da ponte | entre as casas",
        "todas as manhãs | antes do almoço | no domingo | durante as férias | tarde da noite | "
        "depois do trabalho | "
        "no outono | duas vezes por semana",
    ),
    "Italian": _lists(
        "il vecchio contadino | mia sorella | il nostro maestro | un ragazzo strano | la vicina | "
        "mio nonno | "
        "il fornaio | la bambina piccola | il giovane medico | una donna stanca",
        "compra il pane fresco | legge un grosso libro | ripara la bicicletta | "
        "scrive una lunga lettera | "
        "canta una canzone tranquilla | aspetta l'ultimo treno | beve il caffè nero | "
        "dipinge lo steccato | "
        "cerca le chiavi | vende scarpe | prepara una torta | conta le pecore | apre tutte le finestre | "
        "porta borse pesanti | dimentica il biglietto",
        "al mercato | in cucina | vicino alla stazione | dietro la chiesa | sulla collina | "
        "accanto al lago | "
        "sotto il ponte | fra le case",
        "ogni mattina | prima di pranzo | la domenica | durante le vacanze | a notte fonda | "
        "dopo il lavoro | "
        "in autunno | due volte alla settimana",
    ),
    "French": _lists(
        "le vieux fermier | ma sœur | notre maître | un garçon étrange | la voisine | mon grand-père | "
        "le boulanger | "
        "la petite fille | le jeune médecin | une femme fatiguée",
        "achète du pain frais | lit un gros livre | répare le vélo | écrit une longue lettre | "
        "chante une chanson douce | "
        "attend le dernier train | boit du café noir | peint la clôture | cherche les clés | "
        "vend des chaussures | "
        "prépare un gâteau | compte les moutons | ouvre toutes les fenêtres | porte des sacs lourds | "
        "oublie le billet",
        "au marché | dans la cuisine | près de la gare | derrière l'église | sur la colline | "
        "au bord du lac | "
        "sous le pont | entre les maisons",
        "chaque matin | avant le repas | le dimanche | pendant les vacances | tard dans la nuit | "
        "après le travail | "
        "en automne | deux fois par semaine",
    ),
    "Russian": _lists(
        "старый крестьянин | моя сестра | наш учитель | чужой мальчик | соседка | мой дедушка | пекарь | "
        "маленькая девочка | молодой врач | уставшая женщина",
        "покупает свежий хлеб | читает толстую книгу | чинит велосипед | пишет длинное письмо | "
        "поёт тихую песню | "
        "ждёт последний поезд | пьёт чёрный кофе | красит забор | ищет ключи | продаёт дешёвую обувь | "
        "печёт пирог | "
        "считает овец | открывает все окна | несёт тяжёлые сумки | забывает билет",
        "на рынке | на кухне | возле вокзала | за церковью | на холме | у озера | под мостом | "
        "между домами",
        "каждое утро | перед обедом | в воскресенье | на каникулах | поздно ночью | после работы | "
        "осенью | "
        "два раза в неделю",
    ),
    "Chinese": _lists(
        "那个老人 | 我的姐姐 | 我们的老师 | 一个陌生的男孩 | 女邻居 | 我爷爷 | 面包师 | 小女孩 | "
        "年轻的医生 | 一位疲倦的女士",
        "买新鲜的面包 | 看一本厚书 | 修理自行车 | 写一封长信 | 唱一首安静的歌 | 等最后一班火车 | 喝黑咖啡 | 油漆栏杆 | "
        "找房子的钥匙 | 卖便宜的鞋子 | 做蛋糕 | 数绵羊 | 打开所有的窗户 | 提着很重的袋子 | 忘记带车票",
        "在市场 | 在厨房里 | 在车站附近 | 在教堂后面 | 在小山上 | 在湖边 | 在桥下 | 在房子中间",
        "每天早上 | 吃饭以前 | 星期天 | 放假的时候 | 深夜 | 下班以后 | 秋天 | 每周两次",
    ),
    "Japanese": _lists(
        "ろうじんは | わたしのあねは | わたしたちのせんせいは | しらないおとこのこは | となりのひとは | そふは | "
        "パンやさんは | ちいさいおんなのこは | わかいいしゃは | つかれたじょせいは",
        "あたらしいパンをかいます | あついほんをよみます | じてんしゃをなおします | ながいてがみをかきます | "
        "しずかなうたをうたいます | さいごのでんしゃをまちます | コーヒーをのみます | へいにペンキをぬります | "
        "かぎをさがします | やすいくつをうります | ケーキをやきます | ひつじをかぞえます | まどをぜんぶあけます | "
        "おもいかばんをはこびます | きっぷをわすれます",
        "いちばで | だいどころで | えきのちかくで | きょうかいのうしろで | おかのうえで | みずうみのそばで | "
        "はしのしたで | いえのあいだで",
        "まいあさ | しょくじのまえに | にちようびに | やすみのあいだに | よるおそく | しごとのあとで | あきに | "
        "しゅうににかい",
    ),
    "Turkish": _lists(
        "yaşlı çiftçi | kız kardeşim | öğretmenimiz | komşu kadın | büyükbabam | küçük kız",
        "taze ekmek alıyor | kalın bir kitap okuyor | bisikleti tamir ediyor | uzun bir mektup yazıyor | "
        "son treni bekliyor | anahtarları arıyor | pasta yapıyor | koyunları sayıyor",
        "pazarda | mutfakta | istasyonun yanında | tepenin üstünde | gölün kıyısında",
        "her sabah | yemekten önce | pazar günü | gece geç saatte | işten sonra",
    ),
    "Hungarian": _lists(
        "az öreg gazda | a nővérem | a tanárunk | a szomszéd néni | a nagyapám | egy kislány",
        "friss kenyeret vesz | vastag könyvet olvas | megjavítja a biciklit | hosszú levelet ír | "
        "az utolsó vonatra vár | a kulcsokat keresi | süteményt süt | megszámolja a juhokat",
        "a piacon | a konyhában | az állomás közelében | a dombon | a tó partján",
        "minden reggel | ebéd előtt | vasárnap | késő este | munka után",
    ),
}
"""Language -> (who, what they do, where, when)."""
