"""What `bench/recall.py` makes of a file of dialogues, and how it counts."""

import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("recall", "recall_sizes", "load"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import recall  # noqa: PLC0415 - a script, found in its own folder

    return recall


def sample(**changes):
    turns = [{"speaker": "Ann", "dia_id": f"D1:{n}", "text": f"text {n}"} for n in range(1, 8)]
    return {
        "conversation": {
            "speaker_a": "Ann",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": turns,
        },
        "qa": [{"question": "?", "category": 1, "evidence": ["D1:1"]} | changes],
    }


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["D1:2; D1:3"], {"D1:2", "D1:3"}),
        (["D1:2 D1:4", "D1:07"], {"D1:2", "D1:4", "D1:7"}),
        (["D:1:5"], {"D1:5"}),
        ("D1:6,D1:7", {"D1:6", "D1:7"}),
        (["D1:1", "D99:1", "D"], {"D1:1"}),
    ],
)
def test_evidence_is_read_however_it_is_written(bench, tmp_path, written, names):
    path = tmp_path / "dialogues.json"
    path.write_text(json.dumps([sample(evidence=written)]), encoding="utf-8")
    (dialogue,) = bench.read_dialogues(path)
    assert dialogue.questions[0].evidence == names


def test_questions_without_evidence_that_is_there_do_not_count(bench, tmp_path):
    path = tmp_path / "dialogues.json"
    path.write_text(json.dumps([sample(evidence=["D9:9"])]), encoding="utf-8")
    assert bench.read_dialogues(path)[0].questions == ()


def test_the_metrics_are_what_they_are_called(bench):
    asked = bench.Question("?", 1, frozenset({"a", "b"}))
    found = tuple("xxaxxxbxxx")
    row = bench.score([bench.Answer(asked, found, 1.0), bench.Answer(asked, ("a",), 3.0)])
    assert row["hit@1"] == 0.5
    assert row["any@5"] == row["any@10"] == 1
    assert row["recall@5"] == 0.5
    assert row["recall@10"] == row["all@10"] + 0.25 == 0.75
    assert row["mrr"] == pytest.approx((1 / 3 + 1) / 2, abs=1e-4)
    assert (row["p50_ms"], row["p95_ms"]) == (2.0, 3.0)


def test_a_customer_of_a_size_is_told_the_dialogues_again_later(bench, tmp_path):
    import recall_sizes  # noqa: PLC0415 - a script, found in its own folder

    path = tmp_path / "dialogues.json"
    path.write_text(json.dumps([sample(), sample()]), encoding="utf-8")
    dialogues = bench.read_dialogues(path)
    customer = recall_sizes.of_size(dialogues, 17)
    assert len({turn.name for turn in customer.turns}) == 17
    assert customer.turns[14].at - customer.turns[0].at == recall_sizes.ROUND
    assert len(customer.questions) == 2
    assert len(recall_sizes.of_size(dialogues, 5).questions) == 1
