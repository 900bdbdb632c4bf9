"""A bound of tokens is never below what two real vocabularies count, nor uselessly far above."""

# ruff: noqa: RUF001, E501 - other scripts look like ours, and a sample is one line
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.memory.tokens import upper_bound

# Each with the larger of its counts by cl100k_base and o200k_base, as bpe-openai 0.1.4 has them.
COUNTED = {
    "talk": (
        "Same place as last time, can you come Friday? The gate code changed to 4417, please call before you come up.",
        27,
    ),
    "typos": (
        "hii cna u com thrusday morng plz? teh gat code iz chagned its nw 4417# thx!! sofa iz on 2nd flr, bring 2 ppl k?",
        46,
    ),
    "names": (
        "Joanie Pruitt, Siobhan O'Shaughnessy, Krzysztof Wojciechowski, 4521 Tchoupitoulas Street, Schuylkill Expressway",
        42,
    ),
    "capitals": (
        "PLEASE CALL ME BACK ASAP I NEED THIS DONE BY FRIDAY MORNING",
        15,
    ),
    "json": (
        '{"name":"create_job","arguments":{"title":"Garage clean-out","price_cents":24900,"address_id":"3f2c8a70-5d0b-4b7e-9a51-0c9f3f7c1b22"}}',
        59,
    ),
    "code": (
        "    def additionalProperties(self, minLength: int) -> dict[str, Any]:\n        return {**self._kept_by_name, 'x': minLength}\n",
        34,
    ),
    "digits": (
        "+1 202 555 0123, 20260603, 12 345 678.90, 2026-06-03T09:00:00-05:00",
        41,
    ),
    "ids": (
        "a8b3f20c9d1e4f5ab6c7d8e9f0a1b2c3 5d2f0c9be1a47f36 JOB-00417 sha256:9f86d081884c7d65",
        61,
    ),
    "layout": (
        "\n    x = 1\n\n\n\t\ty\n  - one\n  - two\n",
        18,
    ),
    "german": (
        "Könnten Sie am Donnerstagvormittag die Waschmaschine abholen? Die Bürgermeister-Müller-Straße ist gesperrt.",
        38,
    ),
    "hmong": (
        "Nyob zoo, koj puas tuaj yeem tuaj thaum sawv ntxov hnub Friday mus nqa lub rooj zaum qub? Kuv lub chaw nyob tseem nyob qub.",
        50,
    ),
    "somali": (
        "Salaan, ma iman kartaa subaxda Jimcaha si aad u qaaddo fadhiga duugga ah? Albaabka koodhkiisu wuu isbeddelay.",
        45,
    ),
    "swahili": (
        "Habari, je, mnaweza kuja Ijumaa asubuhi kuchukua kochi la zamani? Msimbo wa lango umebadilika.",
        42,
    ),
    "haitian": (
        "Bonjou, èske ou ka vini vandredi maten pou pran vye kanape a? Kòd pòtay la chanje.",
        36,
    ),
    "tagalog": (
        "Kumusta, pwede ba kayong pumunta sa Biyernes ng umaga para kunin ang lumang sopa? Nagbago ang kodigo ng tarangkahan.",
        40,
    ),
    "finnish": (
        "Hei, voisitteko tulla perjantaiaamuna hakemaan vanhan sohvan? Portin koodi on vaihtunut.",
        34,
    ),
    "invented": (
        "Blorvit skanjude fralopish wugmin dretzalo quimbarty ostrevin plagdo zintherpal morvikule.",
        33,
    ),
    "letters": (
        "qzxvk jwpfh bnrtg lmcdk xqzvj pwhfk gtrnb dckml",
        25,
    ),
    "polish": (
        "Dzień dobry, czy mogliby Państwo przyjechać w czwartek rano po starą kanapę?",
        30,
    ),
    "turkish": (
        "Merhaba, perşembe sabahı eski koltuğu almaya gelebilir misiniz? Kapı şifresi değişti.",
        37,
    ),
    "vietnamese": (
        "Xin chào, anh có thể đến sáng thứ Năm để lấy chiếc ghế sofa cũ không?",
        34,
    ),
    "russian": (
        "Здравствуйте, можно ли перенести уборку на четверг утром?",
        26,
    ),
    "greek": (
        "Γεια σας, μπορείτε να έρθετε την Πέμπτη το πρωί;",
        43,
    ),
    "arabic": (
        "مرحبا، هل يمكنكم القدوم صباح الخميس لأخذ الأريكة القديمة؟",
        45,
    ),
    "hindi": (
        "नमस्ते, क्या आप गुरुवार सुबह पुराना सोफा ले जा सकते हैं?",
        54,
    ),
    "chinese": (
        "你好,请问星期四上午可以来收旧沙发吗?门禁密码换了。",
        28,
    ),
    "japanese": (
        "こんにちは、木曜日の午前中に古いソファを回収していただけますか?",
        29,
    ),
    "korean": (
        "안녕하세요, 목요일 오전에 오래된 소파를 수거해 주실 수 있나요?",
        32,
    ),
    "georgian": (
        "გამარჯობა, შეგიძლიათ მოხვიდეთ ხუთშაბათს დილით?",
        86,
    ),
    "emoji": (
        "👍👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈😂🙏🏽🇺🇸✅❤\ufe0f",
        49,
    ),
    "prose": (
        "It was the first time that anybody had asked her about the house, and she answered slowly, as though every word had to be carried up from the cellar.",
        32,
    ),
    "short forms": (
        "Don't worry, we're sure it's Joanie's; I'd say they've said that you'll come, and it wasn't O'Shaughnessy who'd called.",
        38,
    ),
    "curly": (
        "\u201cDon\u2019t worry,\u201d she said, \u201cit\u2019s Joanie\u2019s — we\u2019re sure.\u201d",
        19,
    ),
    "random": (
        "xqzjv kwpfhg bnmtrs ouaeiy qqqqqq zxcvbnm ghtyfj pldkwu",
        33,
    ),
    "mixed case": (
        "pLEAse CaLL mE bAcK aBoUT tHe sOfA iPhoneXR McDonaldIA",
        25,
    ),
    "base64": (
        "dGhlIGdhdGUgY29kZSBpcyA0NDE3LCBwbGVhc2UgY2FsbA== eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        59,
    ),
    "uuid": (
        "e818914c-6e76-545b-8bd7-c36b3bca9f8b 7B0F2D1C-9A3E-4C55-8F10-1D2E3F4A5B6C",
        60,
    ),
    "signs": (
        "!!!??? ... --- *** (((:;-)))~~ #$%^&*()_+{}|:<>? =>>= \"\"\"''' /// \\\\ @@@",
        31,
    ),
    "blanks": (
        " \n\n \t\t x\r\n\r\n\t y    7  \n      z\t\t\t",
        13,
    ),
    "zulu": (
        "Sawubona, ningakwazi yini ukuza ngoLwesine ekuseni nizothatha usofa omdala nezihlalo ezimbili?",
        42,
    ),
    "yoruba": (
        "Ẹ káàrọ̀, ṣé ẹ lè wá lọ́jọ́ Ẹ́tì láti gbé àga àtìjọ́?",
        45,
    ),
    "hungarian": (
        "Jó napot, el tudnának jönni csütörtök reggel a régi kanapéért? A kapukód megváltozott.",
        39,
    ),
    "french": (
        "Bonjour, pourriez-vous passer jeudi matin pour enlever le vieux canapé et deux chaises cassées ?",
        26,
    ),
    "spanish": (
        "Buenos días, ¿podrían venir el jueves por la mañana a recoger el sofá viejo? El código cambió.",
        30,
    ),
    "hebrew": (
        "שלום, האם תוכלו להגיע ביום חמישי בבוקר?",
        37,
    ),
    "thai": (
        "สวัสดีค่ะ คุณมารับโซฟาเก่าในเช้าวันพฤหัสบดีได้ไหม รหัสประตูเปลี่ยนแล้ว",
        68,
    ),
    "amharic": (
        "ሰላም፣ ሐሙስ ጠዋት መጥታችሁ አሮጌውን ሶፋ መውሰድ ትችላላችሁ?",
        95,
    ),
    "bengali": (
        "নমস্কার, আপনারা কি বৃহস্পতিবার সকালে পুরোনো সোফাটা নিতে আসতে পারবেন?",
        84,
    ),
    "bashkir": (
        "һарада баралар, Барада яҡшы",
        21,
    ),
    "flags": (
        "🇺🇸🇩🇪🇯🇵 👨🏽\u200d🚒👩🏿\u200d🔬🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 1\ufe0f⃣ ☎\ufe0f🫠🧿",
        75,
    ),
    "letters before a space": (
        "Ó Murchú á ôter ñandú, ã õ ç í Ç º ª ¤ ¦ ¨ ¬ Ò Ù û ï ý õhtul Ñuñoa åbo Æsop ïndia",
        60,
    ),
}
ENGLISH = {"talk", "typos", "prose", "short forms", "names", "json"}
words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1)


@pytest.mark.parametrize("kind", COUNTED)
def test_what_people_and_programs_write_costs_no_more_than_the_bound(kind):
    text, count = COUNTED[kind]
    assert upper_bound(text) >= count


@pytest.mark.parametrize("kind", sorted(ENGLISH))
def test_the_bound_wastes_little_of_a_budget(kind):
    text, count = COUNTED[kind]
    assert upper_bound(text) <= 1.4 * count


@pytest.mark.parametrize("kind", sorted(set(COUNTED) - ENGLISH))
def test_the_bound_of_other_scripts_and_of_code_is_of_use_too(kind):
    text, count = COUNTED[kind]
    assert upper_bound(text) <= 1.9 * count


def test_nothing_costs_nothing():
    assert upper_bound("") == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("appointment", 1),
        (" appointment", 1),
        (" Appointment", 1),
        (" don't", 2),
        # Two vocabularies know pr, ro and pro, so that no cut leaves these beside one another.
        ("pro", 1),
        # Nobody knows two of these together.
        ("qzqjxq", 6),
        ("aBcD", 4),
        ("4417", 4),
    ],
)
def test_what_is_known_as_one_is_one_and_what_is_not_is_its_letters(text, count):
    assert upper_bound(text) == count


@given(st.lists(words))
def test_every_word_costs_at_least_one_and_at_most_its_letters(given_words):
    assert len(given_words) <= upper_bound(" ".join(given_words)) <= sum(map(len, given_words))


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=2), st.integers(min_value=1, max_value=9))
def test_no_word_is_cheap_because_it_looks_like_another(word, times):
    """What is repeated costs at least a token for each time beyond the longest known word."""
    assert upper_bound(word * times) >= len(word) * times / 20


@given(st.integers(min_value=0))
def test_a_digit_is_a_token(number):
    assert upper_bound(str(number)) == len(str(number))


@given(st.text())
def test_no_byte_costs_more_than_a_token_but_where_an_apostrophe_cuts_a_word(text):
    cuts = len(re.findall(r"['\u2019]", text))
    assert 0 <= upper_bound(text) <= len(text.encode()) + cuts


@given(st.text(" \n\t\r"))
def test_blanks_are_never_free(blanks):
    assert bool(blanks) <= upper_bound(blanks) <= len(blanks)


@given(st.lists(st.text("abcXYZ019.,!? -"), min_size=2, max_size=2))
def test_text_on_a_line_of_its_own_adds_up(given_lines):
    """A budget may be filled line by line: no line makes another one dearer."""
    lines = [re.sub(r"\s+", " ", each).strip() for each in given_lines]
    assert upper_bound("\n".join(lines)) <= sum(map(upper_bound, lines)) + 1


def test_a_word_without_end_is_counted_at_once():
    assert 100_000 / 4 <= upper_bound("xq" * 50_000) <= 100_000
