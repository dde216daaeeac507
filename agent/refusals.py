"""How models say that they cannot or will not answer: phrases by kind and language, and where a text says one.

Three kinds (`AbstentionKind`): the model cannot hear the clip, it declines, it does not know. A phrase is how real
audio models put it, never a whole reply. Quoted speech is not the model's own word and is left out.

A row of a table is (words, pattern). The pattern is tried only where one of the words, divided by "|", stands in the
text: that keeps the search fast. A hedge ("hard to tell", "unclear", "not mentioned") is weak: a conclusion that the
text draws elsewhere outranks it.
"""

import re
from dataclasses import dataclass

from lalm_agent.records import AbstentionKind

_ADVERBS = (
    r"(?:(?:really|honestly|just|definitively|definitely|accurately|reliably|confidently|precisely|truly|exactly|"
    r"safely|"
    r"clearly|conclusively|currently|actually|possibly|fully|directly|properly|physically|even|still|simply|yet|be|"
    r"with certainty|with confidence|for sure|for certain) ){0,3}"
)
_UNABLE = (
    r"(?:can ?not|can't|cant|couldn't|could not|unable to|not able to|incapable of|not capable of|"
    r"don't have the ability "
    r"to|do not have the ability to|lack the ability to|have no way to|no ability to|isn't possible to|not possible "
    r"(?:for me )?to|impossible (?:for me )?to|failed to)"
)
_CANNOT = rf"(?:{_UNABLE}|didn't|did not|don't|do not|never)"
_CLIP = (
    r"(?:audios?|sounds?|clips?|recordings?|soundtracks?|files?|attachments?|segments?|tracks?|samples?|snippets?|"
    r"media)"
)
_THE = (
    r"(?:(?:to|the|this|that|these|those|any|your|an?|such|its?|either|actual|provided|given|uploaded|attached|"
    r"mentioned|"
    r"referenced|input|original|external|live|raw|speech|voice|music|sound|audio|content|contents|of|in|and|or|with|"
    r"correct|right|new|full|working|clear|clearer|different|relevant|specific|necessary) ){0,6}"
)
_HEAR = (
    r"(?:hear|hearing|access|accessing|listen|listening|analy[sz]e|analy[sz]ing|process|processing|play|playing|open|"
    r"opening|perceive|receive|received|view|retrieve|load|detect|see|find|interpret|evaluate|examine|read|get|"
    r"handle|"
    r"decode|transcribe|make out)"
)
_ABSENT = (
    r"(?:provided|available|included|attached|accessible|supplied|shared|uploaded|audible|present|found|loaded|"
    r"playing|"
    r"working|given|received|sent|here|there|clear enough|loud enough|usable)"
)
_EMPTY = (
    r"(?:silent|empty|blank|missing|corrupt(?:ed)?|inaudible|unavailable|inaccessible|broken|damaged|unusable|"
    r"unreadable|"
    r"unintelligible|muted|absent|too (?:quiet|noisy|short|faint|distorted|muffled|garbled|unclear)|(?:nothing but )?"
    r"(?:silence|static))"
)
_SUBJECT = rf"\b{_CLIP}(?: {_CLIP})?(?: (?:itself|provided|given|in question|here|(?:that )?you [a-z' ]{{4,20}}?))?"
_DECIDE = (
    r"(?:determin(?:e|ed|ing)|count|compare|tell|told|say|said|answer(?:ed|ing)?|know|known|identif(?:y|ied|ying)|"
    r"confirm(?:ed)?|"
    r"classif(?:y|ied|ying)|infer(?:red)?|conclude|concluded|judge|judged|decide|decided|distinguish(?:ed)?|"
    r"recogni[sz](?:e|ed)|ascertain(?:ed)?|establish(?:ed)?|specif(?:y|ied)|pinpoint(?:ed)?|choose|chosen|"
    r"select(?:ed)?|"
    r"pick|assess(?:ed)?|deduced?|figured? out|work(?:ed)? out|verif(?:y|ied)|discern(?:ed)?|estimated?|name|gauge|"
    r"categori[sz]ed?|respond|guess(?:ed)?|settle|settled|differentiate|certain|sure|"
    r"(?:make|give|offer|provide|draw|reach|find|form|render|arrive at)(?: you)? (?:an?|any|the|"
    r"its?) (?:[a-z]+ ){0,3}?"
    r"(?:determination|judg(?:e)?ment|conclusion|decision|choice|selection|assessment|comparison|guess|inference|"
    r"deduction|identification|answer|analysis|response|classification|option|match|verdict))"
)

_NOT_THE_SPEAKER = "".join(
    f"(?<!{word} )" for word in "speaker man woman he they person girl boy singer people who".split()
)
"""What somebody in the clip does not know says nothing of the model."""

_Rows = tuple[tuple[str, str], ...]

_CANNOT_HEAR: _Rows = (
    (
        "hear|listen|access|analy|process|play|open|perceive|receive|view|retrieve|load|detect|see |find|interpret|"
        "evaluat|examin|read|get|handle|decode|transcribe|make out",
        rf"\b{_CANNOT} {_ADVERBS}{_HEAR} {_THE}(?:{_CLIP}\b(?! of| like)|it\b(?! is| was)|anything\b(?! that| like|"
        rf" other)|"
        r"nothing\b|what you\b)",
    ),
    ("hear|listen", rf"\b{_CANNOT} {_ADVERBS}(?:hear|listen)(?= you\b|\W*$|[.,!;])"),
    (
        "hear|listen|access|analy",
        rf"\b{_CANNOT} {_ADVERBS}(?:hear|listen to|access|analy[sz]e) (?:the|this|that|your) (?:speech|speaker|voice|"
        rf"music|"
        r"song|conversation|animal)\b",
    ),
    (
        "not|n't",
        rf"{_SUBJECT} (?:(?:is|was|were|are|has|have|had|does|did|seems|appears)(?: not|n't)|(?:seems|appears) not|"
        rf"never)"
        rf"(?: (?:to be|been|be|actually|currently|yet|seem to be|appear to be))* (?:\w+ )?{_ABSENT}\b",
    ),
    (
        "silen|empty|blank|missing|corrupt|audible|availab|accessible|broken|damaged|usable|readable|intelligible|"
        "muted|"
        "absent|too |static",
        rf"{_SUBJECT} (?:is|was|are|were|seems?|appears?|sounds?)(?: to be)?(?: (?:completely|entirely|totally|"
        rf"mostly|"
        rf"simply|either|just|only|all|also|very|quite|far|fully|pure)){{0,2}} {_EMPTY}\b",
    ),
    (
        "nothing|silence|no ",
        rf"{_SUBJECT} (?:contains?|has|have|holds?|consists? of) (?:nothing|(?:only |just |pure |complete |"
        rf"digital )?silence|"
        r"no (?:audible |actual )?(?:sounds?|audio|signal|content)\b)",
    ),
    (
        "no ",
        rf"\bno (?:actual |accompanying |audible |input |music |speech )?{_CLIP}(?: {_CLIP}| content|"
        rf" input)*(?: (?:is|was|were|has been|"
        rf"have been|seems to be|appears to be|currently|actually))* (?:{_ABSENT}|reached|came|arrived|comes|"
        rf"got through|in (?:our|this|the|your)|"
        r"to (?:analy[sz]e|hear|listen|process|work))\b",
    ),
    (
        "there",
        rf"\bthere (?:is|was|are|were|seems to be|appears to be)(?:n't| not)? (?:no|any|an|only|just|nothing but|"
        rf"complete|"
        rf"total)? ?(?:actual |accompanying |audible )?(?:silence\b|(?<=no )(?:music |speech )?{_CLIP}(?: {_CLIP}|"
        rf" content| input)*\b|"
        rf"(?<=any ){_CLIP}(?: {_CLIP}| content| input)*\b(?! of| from)|nothing to (?:hear|listen to|analy[sz]e)|"
        rf"nothing audible)",
    ),
    (
        "provide|upload|share|send|attach|supply|submit|include|post|give|resend",
        r"\b(?:please|kindly|could you|can you|would you|you (?:could|can|need to|may)|if you|until you|once you|"
        r"unless you)"
        r"[a-z ]{0,20}? ?(?:re-?)?(?:provide|upload|share|send|attach|supply|submit|include|post|give)(?: me|"
        r" us)?(?: with)? "
        rf"{_THE}{_CLIP}\b",
    ),
    (
        "without",
        rf"\bwithout (?:{_THE}{_CLIP}\b|(?:being able to |actually |first ){{0,2}}(?:hear|hearing|listen|listening|"
        rf"access|accessing|analy[sz]e|analy[sz]ing) (?:to )?{_THE}(?:it\b|{_CLIP}\b|speech|voice|music|song)|"
        rf"access to )",
    ),
    (
        "not |n't|no ",
        r"\b(?:do not|don't|did not|didn't|does not|have not|haven't|have no|had no|without) (?:actually |"
        r"currently )?(?:have |"
        rf"see |receive |received |get |got |find |been (?:given|sent|"
        rf"provided) )?(?:(?:any )?access to )?{_THE}{_CLIP}\b(?! of| like| as)",
    ),
    (
        "hear ",
        r"\bi (?:can |could )?(?:only )?hear (?:nothing\b|(?:only |just )?(?:digital |complete |total )?silence|"
        r"no sound)",
    ),
    (
        "be ",
        rf"{_SUBJECT} (?:could not|couldn't|can ?not|can't) be (?:opened|decoded|played|loaded|read|accessed|heard|"
        rf"processed|retrieved|"
        r"analy[sz]ed|found|transcribed)",
    ),
    (
        "not |un|missing|inaudible",
        rf"^\W*(?:the |this |error: )?(?:{_CLIP} ?){{1,2}} (?:not (?:available|provided|found|audible|accessible|"
        rf"attached|included|"
        r"supported|loaded|received)|unavailable|missing|inaudible)",
    ),
    (
        "not given|not receive|n't given|no waveform|lost",
        rf"\b(?:was not|wasn't|were not|have not been|haven't been) (?:given|sent|provided with|"
        rf"supplied with) {_THE}(?:{_CLIP}\b|speech|music|"
        rf"song)|\breceived? no (?:waveform|signal|sound|audio)|{_SUBJECT}[a-z, ]{{0,20}} (?:to have been |been |"
        rf"got |was )?lost\b",
    ),
    (
        "never|not |n't",
        r"\b(?:speech|music|song|voice|dialogue|conversation) (?:was|were|has been|is) ?(?:never|not|"
        r"n't)(?: been)? (?:sent|given|provided|"
        r"attached|uploaded|shared|included)\b",
    ),
    (
        "silent|empty|blank|inaudible",
        r"\b(?:it's|it is|that is) (?:completely |entirely |just |all )?(?:silent|empty|blank|inaudible)\b",
    ),
    ("forgo", r"\bforg[eo]t(?:ten)? to (?:include|attach|upload|send|provide|add) "),
    ("need to ", r"\bneed to (?:actually )?(?:hear|listen to) "),
    ("what ", r"\bwhat (?:audio|clip|recording)\?"),
    ("no ", r"^\W*no (?:audio|sound|clip|recording)\W*$|\bno audible (?:content|sound|signal|audio|speech)"),
    ("be heard", r"\bno (?:sound|audio|speech|audible \w+)(?: at all)? (?:can|could) be heard"),
    (
        "n't |not ",
        r"\b(?:didn't|did not|haven't|have not) (?:provided?|uploaded?|attached?|sent|send|shared?|included?) "
        rf"{_THE}{_CLIP}",
    ),
    ("nothing", r"\bnothing (?:is|was|can be|could be) (?:heard|audible)"),
    (
        "text-|text ",
        r"\b(?:an?|only|just) (?:purely |ai )?text(?:-based|-only| based| only)? (?:ai |language )?(?:model|"
        r"assistant|system|ai)\b",
    ),
    ("language model", r"\blanguage model[^.\n]{0,60}(?:hear|listen|audio|sound)"),
    (
        "听|音|录|文件|片段",
        r"^\W*没有声音|听不(?:到|见|清|了)|没有?(?:听到|收到|提供|附上|上传)(?:任何)?(?:音频|声音|录音|文件)|未(?:能)?(?:提供|收到|听到|上传)(?:任何)?(?:音频|声音|"
        r"录音)|"
        r"(?:无法|不能|没办法|没法)(?:直接)?(?:收听|听取|听到|听见|听清|听|访问|播放|处理|打开|获取|分析|读取|接收)[^。,]{0,8}(?:音频|声音|录音|文件|语音|片段|这段|它|$|"
        r"[。,])|"
        r"请(?:您)?(?:重新)?(?:提供|上传|发送|分享|给我)[^。]{0,10}(?:音频|录音|声音|文件|片段)|"
        r"(?:音频|录音|声音|片段|文件)(?:文件|片段|内容)?(?:是|为|似乎是|好像是)?(?:空的?|静音|无声|缺失|损坏|不可用|不存在|没有声音|没有内容|听不清)",
    ),
    (
        "聞|音声|オーディオ|聴",
        r"聞こえ(?:ません|ない)|聞(?:く|ける)ことができ(?:ません|ない)|聴(?:く|ける)ことができ|音声(?:ファイル|データ)?(?:が|は)(?:提供されて|ありません|ない|無音|添付されて|"
        r"届いて)|"
        r"音声(?:ファイル)?を(?:提供|送っ|アップロード|共有)|(?:音声|オーディオ)(?:ファイル)?(?:に|を)(?:アクセス|再生|分析|聴く|聞く|聞き)[^。]{0,8}(?:でき|ません)",
    ),
    (
        "들|오디오|음성|소리|파일|녹음",
        r"들을 수 없|들리지 않|들을 수가 없|(?:오디오|음성|소리|파일|녹음)[^.]{0,12}"
        r"(?:제공되지|없습니다|들을 수|분석할 수 없|첨부되지|무음)|"
        r"(?:오디오|음성 ?파일|파일)를? (?:제공|업로드|보내)",
    ),
    (
        "no |non |não ",
        r"\b(?:no puedo|no (?:me )?es posible|no logro|no he podido|no pude|non posso|non riesco a|não (?:posso|"
        r"consigo)) "
        r"(?:o[ií]r|escuchar|acceder|reproducir|analizar|procesar|sentire|ascoltare|accedere|analizzare|ouvir|"
        r"escutar|acessar|"
        r"analisar|reproduzir)\b",
    ),
    (
        "audio|áudio|archivo|arquivo|grabaci|clip",
        r"\b(?:audio|áudio|clip|archivo|arquivo|grabaci[oó]n)\b[^.\n]{0,20}(?:no (?:est[aá]|se|fue|ha sido)|vac[ií]o|"
        r"silencios?o|não (?:foi|está)|non (?:è|[eé] stato)|vuoto)|\bno hay (?:ning[uú]n )?(?:audio|sonido)|"
        r"\b(?:por favor|per "
        r"favore),? (?:proporcion|env[ií]|sub|compart|fornisc|carica|invia|forneça|envie)\w*[^.\n]{0,20}(?:audio|"
        r"áudio|archivo|"
        r"clip|file|grabaci[oó]n)|\bsin (?:el|poder escuchar el) audio\b|\bsem o áudio\b",
    ),
    (
        "entend|audio|écouter|accéder|accès",
        r"\bje (?:ne peux pas|n'arrive pas à|ne parviens pas à|ne suis pas (?:capable|en mesure) d['e]) ?(?:entendre|"
        r"écouter|"
        r"accéder|lire|analyser|traiter)|\bl'(?:extrait )?audio (?:n'est pas|n'a pas été|est (?:vide|silencieux|"
        r"manquant|absent))|"
        r"\b(?:veuillez|merci de|pourriez-vous) (?:fournir|envoyer|partager|télécharger|joindre)[^.\n]{0,16}(?:audio|"
        r"fichier|"
        r"extrait)|\bje n'entends (?:rien|pas)|\bje n'ai pas accès à[^.\n]{0,12}(?:audio|fichier|extrait|"
        r"enregistrement)",
    ),
    (
        "hör|audio|aufnahme|datei|clip",
        r"\bkann[^.\n]{0,40}(?:audio|aufnahme|datei|clip|ton|nichts)[^.\n]{0,20}(?:hören|anhören|abspielen|zugreifen|"
        r"analysieren|"
        r"öffnen|verarbeiten)|\b(?:das audio|die aufnahme|die (?:audio)?datei|"
        r"der clip)[^.\n]{0,12}(?:(?:ist )?(?:leer|stumm|still|"
        r"nicht (?:verfügbar|vorhanden))|fehlt|wurde nicht|enthält (?:keinen|nichts|nur stille))|\bbitte (?:stellen|"
        r"senden|laden|"
        r"schicken|geben)[^.\n]{0,24}(?:audio|aufnahme|datei|clip)|\bhöre nichts|\bnicht (?:an)?hören\b",
    ),
    (
        "слыш|слуш|аудио|запис",
        r"не (?:могу|удалось|получилось|слышу|имею возможности)[^.\n]{0,12}(?:услышать|слышать|прослуш\w+|послушать|"
        r"аудио|запис\w+|"
        r"звук|ничего)|(?:аудио|запись|аудиозапись|файл)[^.\n]{0,12}(?:не (?:предоставлен|загружен|прикреплен|"
        r"доступ)|отсутству|"
        r"пуст)|(?:предоставьте|пришлите|загрузите|отправьте)[^.\n]{0,12}(?:аудио|запись|файл)",
    ),
    (
        "لا |لم |يرجى",
        r"لا (?:أستطيع|يمكنني) (?:سماع|الاستماع|الوصول)|لم يتم (?:توفير|تقديم)|يرجى (?:تقديم|تزويد|إرسال)",
    ),
    (
        "không|tidak|mohon|silakan",
        r"\bkhông (?:thể )?(?:nghe|truy cập|phát)[^.\n]{0,12}(?:âm thanh|được|đoạn|tệp)|\btidak (?:dapat|"
        r"bisa) (?:mendengar|"
        r"mendengarkan|mengakses)|\b(?:silakan|mohon) (?:berikan|kirim|unggah)",
    ),
)

_DECLINES: _Rows = (
    (
        "assist|help|comply|engage|discuss|fulfil|participate|share|disclose|speculate|continue",
        r"\b(?:can ?not|can't|won't|will not|not able to|unable to|not going to) (?:assist|help|comply|engage|"
        r"discuss|fulfil?l|"
        r"participate|share|disclose|speculate|continue)\b(?! (?:you )?(?:determin|identify|decid))",
    ),
    (
        "declin|refus|rather not|prefer not",
        r"\b(?:i|must|have to|will|would|'ll|'d) (?:respectfully |politely )?(?:decline|refuse|"
        r"(?:would )?rather not|prefer not)\b",
    ),
    (
        "won't|will not|going to",
        r"\b(?:i will not|i won't|i'm not going to|i am not going to) (?:be )?(?:answer|identify|guess|name|classify|"
        r"say|make|choose|"
        r"provid|comment|label|giv|do\b|pick|judg|attempt)",
    ),
    (
        "polic|guideline|terms of|privacy|rules|safety",
        r"\b(?:against|violat\w+|due to|because of|under|per|by|breach\w*|protect\w*|respect\w*|"
        r"for) (?:[a-z']+ ){0,4}?(?:polic(?:y|"
        r"ies)|guidelines?|terms of (?:use|service)|privacy|safety|rules)\b|\b(?:polic(?:y|ies)|guidelines?|"
        r"rules) (?:do not|don't|"
        r"does not|prevents?|prohibits?|forbids?)",
    ),
    (
        "appropriate|comfortable",
        r"\b(?:not|in|isn't|wouldn't be) ?appropriate (?:for me )?to\b|\b(?:not|don't feel|un) ?comfortable "
        r"(?:with )?\w+ing\b",
    ),
    (
        "not |n't",
        r"\bi (?:do not|don't) (?:make assumptions|make guesses|identify|infer|speculate|provide opinions|label|"
        r"comment)",
    ),
    ("no comment", r"^\W*no comment\b"),
    ("not allowed|permitted|forbidden", r"\b(?:not allowed|not permitted|forbidden) to\b"),
    (
        "不便|拒绝|不会|不予|恕|方便|不允许|不适合|协助|帮|满足|讨论|违反",
        r"(?:不便|拒绝|不会|不予|恕我不能|不方便|不允许|不适合)(?:回答|透露|评论|识别|提供|猜测|推测)|(?:无法|不能|不便)(?:协助|帮助|帮您|帮你|帮到|满足|讨论)|"
        r"违反[^。]{0,8}(?:政策|规定|准则)",
    ),
    (
        "答え|手伝|控え|도와|거부|답변드릴",
        r"お(?:答え|手伝い)(?:は|することは)?(?:でき(?:ません|かね)|いたしかね)|"
        r"回答を控え|도와드릴 수 없|답변을 거부|답변드릴 수 없",
    ),
    (
        "ayudar|aiutar|ajudar|aider|helfen|помочь|niego|prefiero|refuse|möchte|lehne|отказыва",
        r"\bno puedo ayudar\w*|\bme niego a\b|\bprefiero no\b|\bnão posso ajudar|\bnon posso aiutar\w*|"
        r"\bje (?:ne peux pas (?:vous |t')?"
        r"aider|refuse de|préfère ne pas)|\bnicht helfen|\bich möchte (?:dazu |darauf )?nicht|\bich lehne|"
        r"не могу помочь|отказываюсь",
    ),
)

_DOES_NOT_KNOW: _Rows = (
    ("idk|dunno", r"\b(?:idk|dunno)\b"),
    (
        "who knows|beats me|guess|telling|faintest|slightest|not known|unclear|info",
        r"\bwho knows\b|\bbeats me\b|\banyone's guess\b|\bno telling\b|\b(?:faintest|slightest|foggiest) (?:idea|"
        r"clue)|^\W*(?:not known|"
        r"unclear)\W*$|\bis not known\b|\b(?:not enough|insufficient) info\b|^\W*no information\b|\b(?:does not|"
        r"doesn't|do not|don't) "
        r"(?:provide|contain|give|have|offer|include) information\b",
    ),
    (
        "know|have ",
        rf"\b(?=[cdfhilnuw]){_NOT_THE_SPEAKER}(?:do not|don't|does not|doesn't|did not|didn't|wouldn't|"
        rf"dont) {_ADVERBS}(?:know\b(?! (?:whether|if) (?:to|he|"
        rf"she|they))|have (?:an?|"
        r"any|the|enough|sufficient) (?:[a-z]+ )?(?:answer|idea|clue|information|context|details?|evidence|data)\b)",
    ),
    ("no ", r"\b(?:have|has|had|got|give) no (?:idea|clue|answer|way (?:of|to) (?:know|tell|determin)\w*)\b"),
    ("no ", r"^\W*no (?:idea|clue|answer)\b"),
    (
        "no ",
        r"\bno (?:possible |reliable |real |good )?(?:way|basis|means) (?:of |to |for me to |for )(?:tell|know|"
        r"determin|say|identify|be "
        r"sure|be certain|decid|choos|judg|answer)\w*",
    ),
    (
        "not|n't|cant|unable|impossible|failed",
        rf"\b(?=[cdfhilnuw]){_NOT_THE_SPEAKER}{_UNABLE} {_ADVERBS}{_DECIDE}\b",
    ),
    (
        "determin|unknow|undecid|inconclusive|answerable|knowable|not known|uncertain|unclear",
        r"\b(?:is|was|'s|be|seems|remains|stays) (?:therefore |thus |simply |currently |still |"
        r"completely )?(?:indeterminable|undeterminable|"
        r"undetermined|indeterminate|unknowable|undecidable|inconclusive|unanswerable|not (?:determinable|answerable|"
        r"knowable|known)"
        r"|unknown(?! (?:instrument|speaker|person|animal|source|bird)))\b(?! to)",
    ),
    (
        "possible",
        r"\b(?:is|be|'s) (?:just |simply |quite |therefore |thus )?(?:impossible|not possible)(?=\W*$|[.,;!]| based|"
        r" from| given| with)",
    ),
    (
        "un|not |inconclusive|indeterm|n/a|no comment",
        r"^\W*(?:the answer is )?(?:unknown|uncertain|unsure|undetermined|indeterminate|inconclusive|undecided|"
        r"not applicable|n/a|not sure|"
        r"not certain|unanswerable|undeterminable)\W*$",
    ),
    (
        "give up|pass|abstain",
        r"\bi(?:'ll| will| would| have to| must)? (?:give up|pass\b(?=\W*(?:$|on this|here))|abstain)",
    ),
    (
        "sure|certain|confident|clueless",
        r"\b(?:i am|i'm|im|we are|we're|still|feel) (?:really |honestly |just |still |quite |very |"
        r"also )?(?:not (?:at all |really |quite |"
        r"entirely |completely |totally |fully |very |so |too |100 ?% )?(?:sure|certain|confident)|unsure|uncertain|"
        r"clueless)\b",
    ),
    (
        "enough|insufficient|inadequate|too little|lack",
        r"\b(?:not enough|isn't enough|insufficient|inadequate|too little|lacks? (?:of )?(?:any |sufficient |enough |"
        r"the )?)"
        r"(?: ?[a-z]+)? ?(?:information|context|evidence|details?|data|clues?|cues)\b",
    ),
    (
        "information|detail|context|evidence|clue|cue|indication|data",
        r"\b(?:does not|doesn't|do not|don't|did not|didn't) (?:[a-z]+ )?(?:provide|contain|give|include|have|offer|"
        r"supply|convey|carry|"
        r"reveal|show)(?: me| us)? (?:any|enough|sufficient|adequate|the|much|"
        r"specific) (?:[a-z]+ ){0,3}?(?:information|details?|"
        r"context|evidence|clues?|data|cues|indication)\b",
    ),
    (
        "not related|not relevant|unrelated|irrelevant|n't related|n't relevant",
        r"\b(?:information|audio|input|question|content|clip|recording|speech|context)[a-z ]{0,24}? (?:is|was|seems|"
        r"are|appears|isn't)"
        r"(?: to be)? ?(?:not (?:related|relevant)|unrelated|irrelevant|related|"
        r"relevant)(?<!is related)(?<!s relevant) to\b",
    ),
    (
        "不|无|難|难|没|未",
        r"不(?:太|是很|大|能)?(?:知道|确定|清楚|晓得|肯定)|(?:无法|不能|难以|没法|没办法|不可能)[^。,]{0,8}?(?:确定|判断|回答|识别|得知|辨别|分辨|确认|推断|给出|作答|做出|"
        r"得出|知道|区分|"
        r"判定)|信息(?:不足|不够)|没有(?:足够|相关|任何)的?(?:信息|线索)|不得而知|无从(?:得知|判断)|^\W*(?:未知|不详)\W*$",
    ),
    (
        "わか|分か|判断|特定|決定|知りま|答え|情報|不明",
        r"わかりません|分かりません|わからない|分からない|判断(?:でき(?:ません|ない)|がつきません|は困難|することはでき(?:ません|ない))|特定(?:することは)?でき(?:ません|ない)|"
        r"決定でき(?:ません|ない)|"
        r"知りません|答え(?:られません|られない|ることができ)|情報が(?:不足|足り|不十分|ありません)|^\W*不明\W*$|は不明です",
    ),
    (
        "모르|몰라|모릅|수 없|수가 없|확실|정보",
        r"모르겠|몰라요|모릅니다|(?:알|판단할|확인할|결정할|구분할|답할|대답할|식별할) 수(?:가)? 없|"
        r"확실하지 않|정보가 (?:부족|충분하지|없)",
    ),
    (
        "sé|se |puedo|puede|posible|impos|segur|informaci|idea",
        r"\bno (?:lo )?s[eé]\b(?! (?:oye|escucha|si quier|trata))|\bno (?:puedo|se puede|es posible|podemos|"
        r"me es posible) (?:determinar|"
        r"saber|decir|identificar|responder|contestar|distinguir|reconocer|confirmar|precisar)\w*|"
        r"\bimposible (?:de )?(?:determinar|saber|"
        r"decir|identificar)|\bno estoy segur[oa]|\bno (?:hay|tengo) (?:suficiente )?informaci[oó]n|"
        r"\bno tengo (?:ni )?idea|"
        r"\binformaci[oó]n insuficiente",
    ),
    (
        "sais|peux|peut|impossible|suis|aucune|information",
        r"\bje ne (?:le )?sais pas|\b(?:je ne peux pas|on ne peut pas|"
        r"il n'est pas possible de) (?:le )?(?:déterminer|répondre|dire|savoir|"
        r"identifier|distinguer|reconnaître)|\bimpossible (?:de|à) (?:le )?(?:déterminer|dire|savoir|répondre|"
        r"identifier)|\bje ne suis pas "
        r"(?:sûre?|certaine?)|\baucune idée|\bpas (?:assez|suffisamment) d'informations?",
    ),
    (
        "nicht|ahnung|unmöglich|unsicher",
        r"\bwei(?:ß|ss) (?:es |das |ich )?(?:leider )?nicht|\bl(?:ässt|"
        r"äßt) sich [^.\n]{0,30}?nicht (?:\w+ )?(?:bestimmen|sagen|feststellen|"
        r"erkennen|beantworten)|\bkann [^.\n]{0,40}?nicht (?:\w+ ){0,2}?(?:bestimm|sag|feststell|erkenn|beantwort|"
        r"entscheid|identifizier|"
        r"beurteil)\w*|\bkeine ahnung|\bbin (?:mir )?(?:nicht sicher|unsicher)|\b(?:unmöglich|"
        r"nicht möglich) zu (?:sagen|bestimmen|"
        r"erkennen)|\bnicht (?:genügend|ausreichend|genug) information",
    ),
    (
        "non |informazioni|impossibile",
        r"\bnon (?:lo )?so\b|\bnon (?:posso|è possibile|si può|riesco a) (?:determinare|dire|sapere|rispondere|"
        r"identificare|stabilire|"
        r"capire)|\bimpossibile (?:da )?(?:determinare|dire|stabilire)|\bnon (?:ne )?sono sicur[oa]|\bnon ho (?:idea|"
        r"abbastanza)|"
        r"\binformazioni insufficienti",
    ),
    (
        "não|impossível",
        r"\bnão (?:o )?sei\b|\bnão (?:posso|consigo|é possível|dá para|se pode) (?:determinar|dizer|saber|responder|"
        r"identificar)|"
        r"\bimpossível (?:determinar|dizer|saber)|\bnão tenho (?:certeza|ideia|informações)|"
        r"\binformações insuficientes",
    ),
    (
        "не |невозможно|недостаточно|неизвестно|понятия",
        r"\bне знаю\b|\bне (?:могу|можем|удается|удалось|получается) (?:\w+ )?(?:определить|сказать|ответить|узнать|"
        r"распознать|"
        r"установить)|\bневозможно (?:\w+ )?(?:определить|сказать|узнать|ответить)|\bне уверен|"
        r"\bнедостаточно информации|\bнеизвестно\b|"
        r"\bпонятия не имею",
    ),
    (
        "لا |لست|غير",
        r"لا أعرف|لا أدري|لست متأكد|لا يمكن(?:ني)? (?:تحديد|معرفة|الإجابة)|لا أستطيع (?:تحديد|الإجابة)|غير معروف",
    ),
    (
        "không|tidak|bilm|emin|पता",
        r"\bkhông (?:biết|rõ|chắc)|\bkhông thể (?:xác định|trả lời|biết)|\btidak (?:tahu|yakin)|\btidak (?:dapat|"
        r"bisa) (?:menentukan|"
        r"menjawab)|\bbilmiyorum\b|\bemin değilim\b|मुझे नहीं पता|पता नहीं",
    ),
)

_HEDGES: _Rows = (
    ("cuts off|ends before|stops before", r"\b(?:cuts off|ends|stops) before\b"),
    (
        "reveal|say|state|specify|mention|indicate|tell|disclose|give|anything",
        r"\b(?:does not|doesn't|do not|don't|did not|didn't|never) (?:explicitly |clearly |actually )?(?:reveal|"
        r"say (?:which|what|who|where|when|how)|state|"
        r"specify|mention|indicate|tell|disclose|give away)|\bnever (?:mentioned|stated|named|specified|revealed|"
        r"said)|\bcould be any(?:thing| of)\b",
    ),
    (
        "to ",
        rf"\b(?:hard|difficult|tough|tricky|challenging|not easy|"
        rf"not straightforward) (?:for me )?to {_ADVERBS}{_DECIDE}\b",
    ),
    (
        "clear",
        r"\b(?:is|was|'s|are|remains|seems|it) (?:still |also |very |quite |just )?(?:not (?:entirely |very |quite |"
        r"really |at all |"
        r"immediately )?clear|unclear)\b|\bisn't (?:entirely |really )?clear\b",
    ),
    (
        "not |n't",
        r"\b(?:(?:is|was|are|were|been) not|isn't|wasn't|aren't) (?:explicitly |clearly |directly |actually |"
        r"specifically )?(?:specified|"
        r"mentioned|stated|provided|given|indicated|identified|revealed|disclosed|known|named|described|included|"
        r"discussed|defined|"
        r"evident|apparent)\b",
    ),
    (
        "no ",
        r"\b(?:there is|there's|there are|there was|contains?|has|provides?|gives?|"
        r"offers?) no (?:[a-z]+ ){0,2}?(?:information|"
        r"indication|mention|details?|clues?|evidence|context|cues)\b|\bno (?:mention|information|indication) (?:of|"
        r"about|on|regarding|"
        r"as to)\b",
    ),
    (
        "more |additional|further|please|could you|can you",
        r"\b(?:need|require)s? (?:more|additional|further) (?:information|context|details?)|\b(?:more|further|"
        r"additional) (?:information|"
        r"context|details?) (?:is|are|would be) (?:needed|required|necessary)|\bplease (?:provide|give|share|clarify|"
        r"specify|supply|"
        r"rephrase)\b|\b(?:could|can) you (?:please )?(?:provide|clarify|rephrase|specify|share|repeat|"
        r"tell me more)\b",
    ),
)
_Compiled = tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]


def _compiled(rows: _Rows) -> _Compiled:
    return tuple((tuple(words.split("|")), re.compile(pattern, re.MULTILINE)) for words, pattern in rows)


_STRONG = (
    (AbstentionKind.CANNOT_HEAR, _compiled(_CANNOT_HEAR)),
    (AbstentionKind.DECLINES, _compiled(_DECLINES)),
    (AbstentionKind.DOES_NOT_KNOW, _compiled(_DOES_NOT_KNOW)),
)
_WEAK = _compiled(_HEDGES)
_QUOTED = re.compile(r'"[^"\n]{0,400}"')
_APOLOGY = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|unfortunately|regrettably|afraid)\b|"
    r"抱歉|对不起|申し訳|죄송|lo siento|désolé|leider"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a text refuses, and the characters from the first such phrase to the end of the last.

    weak: it only hedges.
    """

    kind: AbstentionKind
    start: int
    end: int
    weak: bool


def find_refusal(folded: str) -> Refusal | None:
    """The refusal in a text of lower case with straight quotes, or None. The time is linear in the text's length."""
    own = _QUOTED.sub(_blank_out_speech, folded) if '"' in folded else folded
    by_kind = [(kind, _spans(own, rows)) for kind, rows in _STRONG]
    strong = [span for _, spans in by_kind for span in spans]
    if strong:
        kind = next(kind for kind, spans in by_kind if spans)
        return Refusal(kind, min(start for start, _ in strong), max(end for _, end in strong), weak=False)
    weak = _spans(own, _WEAK)
    if weak:
        start, end = min(start for start, _ in weak), max(end for _, end in weak)
        return Refusal(AbstentionKind.DOES_NOT_KNOW, start, end, weak=_APOLOGY.search(own) is None)
    return None


def _spans(text: str, rows: _Compiled) -> list[tuple[int, int]]:
    spans = []
    for words, pattern in rows:
        for word in words:
            if word in text:
                spans += [match.span() for match in pattern.finditer(text)]
                break
    return spans


def _blank_out_speech(match: re.Match[str]) -> str:
    return " " * len(match[0]) if " " in match[0] else match[0]
