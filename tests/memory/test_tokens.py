"""A bound of tokens is never below what two real vocabularies count, nor uselessly far above."""

# ruff: noqa: RUF001, E501 - other scripts look like ours, and a sample is one line
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.memory.tokens import upper_bound

# Each with the larger of its counts by cl100k_base and o200k_base.
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
        "👍👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈😂🙏🏽🇺🇸✅❤️",
        49,
    ),
}
ENGLISH = {"talk", "typos", "json", "ids", "layout"}
words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1)


@pytest.mark.parametrize("kind", COUNTED)
def test_what_people_and_programs_write_costs_no_more_than_the_bound(kind):
    text, count = COUNTED[kind]
    assert upper_bound(text) >= count


@pytest.mark.parametrize("kind", sorted(ENGLISH))
def test_the_bound_wastes_little_of_a_budget(kind):
    text, count = COUNTED[kind]
    assert upper_bound(text) <= 1.3 * count


@pytest.mark.parametrize("kind", sorted(set(COUNTED) - ENGLISH))
def test_the_bound_of_other_languages_and_of_code_is_of_use_too(kind):
    text, count = COUNTED[kind]
    assert upper_bound(text) <= 3.2 * count


def test_nothing_costs_nothing():
    assert upper_bound("") == 0


@given(st.lists(words))
def test_every_word_costs_at_least_one_and_at_most_its_letters(given_words):
    assert len(given_words) <= upper_bound(" ".join(given_words)) <= sum(map(len, given_words))


@given(st.integers(min_value=0))
def test_a_digit_costs_one(number):
    """Some tokenizers take them singly."""
    assert upper_bound(str(number)) == len(str(number))


@given(st.text())
def test_no_byte_costs_more_than_a_token_but_for_the_spaces_before(text):
    assert 0 <= upper_bound(text) <= len(text.encode()) + text.count(" ")


@given(st.text(), st.text())
def test_lines_of_a_pack_cost_together_no_more_than_one_by_one(one, other):
    """A budget is filled line by line."""
    lines = ["- " + re.sub(r"\s+", " ", each).strip() for each in (one, other)]
    assert upper_bound("\n".join(lines)) <= sum(map(upper_bound, lines)) + 1
