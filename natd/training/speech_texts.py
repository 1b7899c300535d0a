"""Sentences to be spoken, composed for this: a language of espeak-ng -> short sentences of daily life."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, ...]] = {
    "en-us": (
        "Could you leave the window open for a while?",
        "The bus was late again, so I walked along the river.",
        "We need eggs, flour, two lemons and some butter.",
        "I never thought that old radio would still work.",
        "Turn left after the bridge and then go straight on.",
    ),
    "en": (
        "She said the meeting had been moved to Thursday.",
        "My brother paints boats in a small harbour town.",
        "What a strange thing to find under the stairs!",
        "If it rains tomorrow, we shall stay at home and read.",
        "Mind the step, it is rather dark down here.",
    ),
    "de": (
        "Morgen fahren wir mit dem Zug ans Meer.",
        "Kannst du bitte das Fenster zumachen?",
        "Der Hund hat schon wieder meinen Schuh versteckt.",
        "Im Garten stehen drei Apfelbäume und eine alte Bank.",
        "Ich weiß nicht, wo ich meine Brille hingelegt habe.",
    ),
    "fr": (
        "Nous avons marché toute la journée dans la forêt.",
        "Est-ce que tu peux acheter du pain en rentrant ?",
        "La petite maison au bord du lac est à vendre.",
        "Je ne sais pas pourquoi il est parti si vite.",
        "Demain matin, le marché ouvre à sept heures.",
    ),
    "es": (
        "Mañana vamos a visitar a mis abuelos en el campo.",
        "¿Dónde has puesto las llaves del coche?",
        "El viento ha roto una rama del árbol grande.",
        "Me gusta tomar café mientras leo el periódico.",
        "No hace falta que vengas tan temprano.",
    ),
    "it": (
        "Domani andiamo al mare con tutta la famiglia.",
        "Hai visto dove ho messo gli occhiali?",
        "Il gatto dorme sempre sulla sedia vicino alla finestra.",
        "Vorrei un caffè e un bicchiere d'acqua, per favore.",
        "Ieri sera abbiamo cantato fino a tardi.",
    ),
    "pt-br": (
        "Amanhã vamos viajar de ônibus para a praia.",
        "Você pode fechar a porta, por favor?",
        "A minha avó faz o melhor bolo de milho.",
        "Não sei onde deixei o meu guarda-chuva.",
        "O trem chegou atrasado outra vez.",
    ),
    "nl": (
        "Morgen gaan we met de fiets naar het strand.",
        "Kun je het raam even dichtdoen?",
        "De oude molen draait alleen nog op zondag.",
        "Ik heb mijn sleutels weer op tafel laten liggen.",
        "Het regent al de hele dag en het is koud.",
    ),
    "pl": (
        "Jutro jedziemy pociągiem nad morze.",
        "Czy możesz zamknąć okno?",
        "Mój brat naprawia stare zegary.",
        "Nie wiem, gdzie położyłem okulary.",
        "Wczoraj cały dzień padał deszcz.",
    ),
    "ru": (
        "Завтра мы поедем на поезде к морю.",
        "Закрой, пожалуйста, окно.",
        "Моя бабушка печёт очень вкусные пироги.",
        "Я не знаю, куда положил свои очки.",
        "Вчера весь день шёл дождь.",
    ),
    "cs": (
        "Zítra pojedeme vlakem k babičce.",
        "Můžeš prosím zavřít okno?",
        "Na zahradě rostou tři staré jabloně.",
        "Nevím, kam jsem si dal brýle.",
    ),
    "sv": (
        "I morgon åker vi båt till ön.",
        "Kan du stänga fönstret, tack?",
        "Min syster bor i ett gult hus vid skogen.",
        "Jag vet inte var jag har lagt mina nycklar.",
    ),
    "da": (
        "I morgen tager vi toget til havet.",
        "Kan du lukke vinduet?",
        "Min bror bygger små både af træ.",
        "Jeg ved ikke, hvor mine briller er.",
    ),
    "fi": (
        "Huomenna matkustamme junalla meren rannalle.",
        "Voisitko sulkea ikkunan?",
        "Veljeni korjaa vanhoja kelloja.",
        "En tiedä, mihin laitoin avaimeni.",
    ),
    "hu": (
        "Holnap vonattal megyünk a tóhoz.",
        "Becsuknád az ablakot, kérlek?",
        "A kertben három öreg almafa áll.",
        "Nem tudom, hová tettem a szemüvegemet.",
    ),
    "ro": (
        "Mâine mergem cu trenul la mare.",
        "Poți să închizi fereastra, te rog?",
        "Fratele meu repară ceasuri vechi.",
        "Nu știu unde am pus ochelarii.",
    ),
    "tr": (
        "Yarın trenle denize gidiyoruz.",
        "Pencereyi kapatır mısın, lütfen?",
        "Bahçede üç yaşlı elma ağacı var.",
        "Gözlüğümü nereye koyduğumu bilmiyorum.",
    ),
    "el": (
        "Αύριο θα πάμε με το τρένο στη θάλασσα.",
        "Μπορείς να κλείσεις το παράθυρο;",
        "Ο αδελφός μου φτιάχνει παλιά ρολόγια.",
    ),
    "hi": (
        "कल हम रेल से समुद्र के किनारे जाएँगे।",
        "क्या आप खिड़की बंद कर सकते हैं?",
        "मेरे भाई को पुरानी घड़ियाँ पसंद हैं।",
    ),
    "ar": (
        "غدا نسافر بالقطار إلى البحر.",
        "هل يمكنك أن تغلق النافذة؟",
        "أخي يصلح الساعات القديمة.",
    ),
    "cmn": (
        "明天我们坐火车去海边。",
        "请你把窗户关上,好吗?",
        "我不知道把眼镜放在哪里了。",
    ),
    "vi": (
        "Ngày mai chúng tôi đi tàu hỏa ra biển.",
        "Bạn đóng cửa sổ giúp tôi được không?",
        "Anh trai tôi sửa đồng hồ cũ.",
    ),
    "id": (
        "Besok kami pergi ke pantai naik kereta api.",
        "Bisakah kamu menutup jendela itu?",
        "Saya tidak tahu di mana kacamata saya.",
    ),
    "sw": (
        "Kesho tutasafiri kwa treni kwenda pwani.",
        "Tafadhali funga dirisha hilo.",
        "Ndugu yangu anatengeneza saa za zamani.",
    ),
    "eo": (
        "Morgaŭ ni veturos per trajno al la maro.",
        "Ĉu vi povas fermi la fenestron?",
        "Mia frato riparas malnovajn horloĝojn.",
    ),
}
