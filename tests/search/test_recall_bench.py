"""What `bench/recall.py` makes of a file of dialogues, and how it counts."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("recall", "recall_sizes", "load", "dialogues"):
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


def read(bench, path, *samples):
    path = path / "dialogues.json"
    path.write_text(json.dumps(samples), encoding="utf-8")
    return bench.read_dialogues(path)


def dated(**dates):
    """A dialogue of three sessions, each of two turns, with such dates."""
    talk = {
        f"session_{s}": [{"speaker": "Ann", "dia_id": f"D{s}:{n}", "text": "Hi."} for n in (1, 2)]
        for s in (1, 2, 3)
    }
    talk |= {f"session_{name[1]}_date_time": date for name, date in dates.items()}
    return {"conversation": talk, "qa": []}


@pytest.mark.parametrize("odd", [None, "", "soon", 17, "31:99 pm on 8 May, 2023", "0001-01-01"])
def test_an_undated_session_is_told_after_the_one_before(bench, tmp_path, capsys, odd):
    (dialogue,) = read(bench, tmp_path, dated(s1="1:56 pm on 8 May, 2023", s2=odd, s3=odd))
    first, second, third = (turn.at for turn in dialogue.turns[::2])
    assert first.isoformat() == "2023-05-08T13:56:00+00:00"
    assert timedelta(days=1) <= second - first < timedelta(days=2)
    assert timedelta(days=1) <= third - second < timedelta(days=2)
    assert "without a date, told after the session before: 2" in capsys.readouterr().err


def test_dates_are_read_as_iso_too_and_may_be_missing(bench, tmp_path):
    (dialogue,) = read(bench, tmp_path, dated(s2="2023-05-08T13:56:00", s3="2023-05-10"))
    times = [turn.at for turn in dialogue.turns]
    assert times == sorted(times)
    assert times[2].isoformat() == "2023-05-08T13:56:00+00:00"
    assert times[4].day == 10
    (undated,) = read(bench, tmp_path, dated())
    assert [turn.name for turn in undated.turns] == [f"D{s}:{n}" for s in (1, 2, 3) for n in (1, 2)]


def test_what_cannot_be_read_is_left_out_and_counted(bench, tmp_path, capsys):
    whole = sample()
    said, asked = whole["conversation"]["session_1"], whole["qa"]
    for turn in ({"dia_id": "D1:8", "text": "x"}, {"speaker": "Ann", "text": "x"}, None, said[0]):
        said.append(turn)
    for odd in (
        {"question": ""},
        {"question": " \n"},
        {"question": None},
        {"category": None},
        {"category": "x"},
    ):
        asked.append({"question": "?", "category": 1, "evidence": ["D1:1"]} | odd)
    asked += [{"question": "?", "evidence": ["D1:1"]}, "?"]
    whole["conversation"]["session_2"] = "nothing"
    whole["conversation"]["session_3"] = None
    found = read(bench, tmp_path, {"conversation": {}, "qa": asked}, whole, {"qa": None}, None)
    assert [dialogue.lead for dialogue in found] == ["dialogue-2"]
    assert len(found[0].turns) == 7
    assert len(found[0].questions) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"dialogues.json: {line}"
        for line in (
            "dialogues without a turn, left out: 3",
            "questions without a category, left out: 3",
            "questions without words, left out: 4",
            "sessions that are no list of turns, left out: 1",
            "sessions without a date, told after the session before: 2",
            "turns under a name that is taken, left out: 1",
            "turns without a dia_id or a speaker, left out: 3",
        )
    ]


@pytest.fixture
def run(bench, tmp_path, database_url, monkeypatch, capsys):
    """Return a function that runs the benchmark on samples; it gives what was printed."""
    monkeypatch.setattr(bench, "SCHEMA", "bench_recall_test")

    def go(*samples, mode="all", json=True):
        read(bench, tmp_path, *samples)
        words = ["recall.py", str(tmp_path / "dialogues.json"), "--mode", mode]
        words += ["--database", database_url, "--home", str(tmp_path), *["--json"] * json]
        monkeypatch.setattr(sys, "argv", words)
        bench.main()
        return capsys.readouterr()

    return go


def test_without_a_model_the_figures_of_words_are_given(run):
    told = run(sample(question="Which text is 3?"))
    result = json.loads(told.out)
    assert list(result) == ["baseline", "modes"]
    assert list(result["modes"]) == ["text"]
    assert result["modes"]["text"]["overall"]["questions"] == 1
    assert "backstory model install" in told.err
    with pytest.raises(SystemExit, match="backstory model install"):
        run(sample(), mode="hybrid")


def test_a_file_without_a_question_or_a_word_has_a_table_all_the_same(run):
    silent = sample(evidence=[])
    for turn in silent["conversation"]["session_1"]:
        turn["text"] = None
    assert run(silent, mode="text", json=False).out.splitlines()[1].split()[:3] == [
        "baseline",
        "0",
        "-",
    ]
    with pytest.raises(SystemExit, match="no dialogue"):
        run({"conversation": {}})


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
