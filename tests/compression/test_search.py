"""The driver: recipes for a model that somebody has."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch_nets import exported

from compression import search
from compression.modules.fitting import fitted
from compression.modules.importing import read_network
from compression.modules.retrain import Lesson, Training, retrain
from compression.recipes.family import Recipes
from compression.recipes.genes import anatomy_of, canonical_of, plain_candidates, recipes_space
from compression.recipes.original import recipes_for
from compression.recipes.settings import RecipesSettings, Settings, TrainSettings
from compression.recipes.source import model_from
from engine.backends.settings import BackendSettings
from engine.checks.families import family_checks
from engine.data import Signature
from engine.errors import DataError, SettingsError
from engine.load import DataSettings, load
from engine.winners import FinishSettings

ROWS = np.zeros((2, 1, 8, 8), np.float32)


def digits_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that has seen the digits for a second."""
    net, rows = digits_net(), load(DataSettings(), seed=0).dataset.train(0)
    x, y = torch.from_numpy(rows.x).float(), torch.from_numpy(rows.y)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(5):
        for chosen in torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split(100):
            optimiser.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(net(x[chosen]), y[chosen]))
            optimiser.step()
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    path.write_bytes(exported(net.eval(), ROWS))
    return path


def settings_for(model, folder, **given):
    return Settings(
        **{
            "model": str(model),
            "budget": 3,
            "train": TrainSettings(steps=25, epochs=0.5),
            "space": RecipesSettings(codings=["int4", "ternary", "sparse4"]),
            "backend": BackendSettings("serial"),
            "workers": 1,
            "finish": FinishSettings(members=1, refit=False),
            "run": str(folder),
            "quiet": True,
            **given,
        }
    )


def test_a_front_of_files_smaller_than_the_model(model, tmp_path, capsys):
    result = search.run(settings_for(model, tmp_path / "run"))
    assert result.members
    rows = load(DataSettings(), seed=0).test
    for place in (tmp_path / "run" / "front").iterdir():
        card = json.loads((place / "card.json").read_text())
        opened = onnxruntime.InferenceSession(str(place / "model.onnx"))
        found = opened.run(None, {"x": rows.x.astype(np.float32)})[0]
        assert float((found.argmax(1) != rows.y).mean()) == pytest.approx(card["test"]["error"])
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-4)
        assert card["bytes"] < card["original"]["bytes"] / 3
        assert card["original"]["error"] < 0.2
        assert {step["step"] for step in card["steps"]} >= {"weights quantized"}
        assert card["recipe"]["layers"]


def test_the_command_tells_the_original_and_why_nothing_fits(model, tmp_path, monkeypatch, capsys):
    arguments = [
        *(f"model={model}", "budget=1", "train.steps=5", "train.epochs=0.1", "finish.members=0", "backend=serial"),
        *("workers=1", "quiet=true", f"run={tmp_path / 'run'}", "max_bytes=100"),
    ]
    monkeypatch.setattr("sys.argv", ["compression.search", *arguments])
    assert search.main(arguments) == 1
    told = capsys.readouterr().out
    assert "Original: " in told
    assert "No file has at most 100 bytes: the smallest of the " in told
    assert "The smallest is kept: " in told
    content = (tmp_path / "run" / "smallest" / "model.onnx").read_bytes()
    assert onnxruntime.InferenceSession(content).get_inputs()[0].name == "x"


def test_without_labels_the_original_is_the_truth(model, tmp_path):
    rows = load(DataSettings(), seed=0).dataset.rows
    np.savez(tmp_path / "rows.npz", x=rows.x)
    data = DataSettings(name="npz", path=str(tmp_path / "rows.npz"))
    run = search.run(settings_for(model, tmp_path / "run", data=data, budget=2, finish=FinishSettings(members=0)))
    original = run.members[0].artifact.card["original"]
    assert original["is_labelled"] is False
    assert original["error"] == original["test_error"] == 0
    assert run.members[0].point.values["error"] < 0.5


def test_values_are_compressed_too(tmp_path):
    rows = load(DataSettings(name="diabetes"), seed=0).dataset.train(0)
    x, y = torch.from_numpy(rows.x).float(), torch.from_numpy(rows.y).float()
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(10), nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
    retrain(net, Lesson(x, "regression", y=y), Training(steps=400, learning_rate=0.3), seed=0)
    path = tmp_path / "values.onnx"
    path.write_bytes(exported(net, rows.x[:2].astype(np.float32)))
    data = DataSettings(name="diabetes", folds=2)
    result = search.run(
        settings_for(
            path,
            tmp_path / "run",
            data=data,
            budget=2,
            train=TrainSettings(steps=100),
            space=RecipesSettings(codings=["int4", "int8"], keeps=[0.5, 0.75]),
            finish=FinishSettings(members=0),
        )
    )
    card = result.members[0].artifact.card
    assert card["task"] == "regression"
    assert card["original"]["error"] < 90
    assert result.members[0].point.values["error"] < 1.5 * card["original"]["error"]


def test_the_laws_of_families_hold(model):
    loaded = load(DataSettings(max_rows=400), seed=0)
    settings = settings_for(model, "unused", train=TrainSettings(steps=10, epochs=0.1))
    _, family = recipes_for(settings, loaded, is_labelled=True)
    for _, check in family_checks():
        check(family, loaded.dataset)


def test_equal_recipes_are_one():
    network = read_network(exported(digits_net(), ROWS))
    settings = RecipesSettings(keeps=[0.5, 0.55, 1.0])
    anatomy = anatomy_of(network, settings)
    space = recipes_space(anatomy, settings)
    drawn = space.sample(np.random.default_rng(0)).replace(**{"group0.keep": 0.5})
    assert canonical_of(drawn, anatomy, settings)["group0.keep"] == 0.55
    few = RecipesSettings(layers=2)
    assert [len(part) for part in anatomy_of(network, few).layers] == [2, 1]


def test_the_search_begins_with_one_coding_everywhere(model):
    network = read_network(model.read_bytes())

    def begun(**given):
        settings = RecipesSettings(**given)
        space = recipes_space(anatomy_of(network, settings), settings)
        found = plain_candidates(space, settings)
        for candidate in found:
            space.check(candidate)
        return [(candidate["layer0.coding"], candidate.genes.get("group0.keep")) for candidate in found]

    wide = [("int8", 1.0), ("int4", 1.0), ("int2", 1.0), ("ternary", 1.0)]
    assert begun() == [*wide, *((coding, 0.5) for coding, _ in wide)]
    assert begun(codings=["palette2"], keeps=[0.75]) == [("palette2", 0.75)]
    assert begun(codings=["sparse4"]) == []


def test_a_function_and_an_exported_program_are_models_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    model = model_from("my_nets:make", (1, 8, 8))
    assert [node.op_type for node in model.graph.node][-1] == "Gemm"
    torch.export.save(torch.export.export(digits_net(), (torch.zeros(1, 1, 8, 8),)), tmp_path / "net.pt2")
    x = torch.rand(3, 1, 8, 8)
    network = read_network(model_from("net.pt2", (1, 8, 8)))
    torch.testing.assert_close(network(x), digits_net()(x), atol=1e-5, rtol=1e-4)
    sys.modules.pop("my_nets")
    for wrong in ("my_nets:nothing", "no_such_module:make", "net.h5"):
        with pytest.raises(SettingsError):
            model_from(wrong, (1, 8, 8))


def signature(shape=(1, 8, 8), classes=10, dtype="float32"):
    return Signature("images", "classification", shape, dtype, tuple(map(str, range(classes))))


def test_a_model_is_fitted_to_the_data():
    x = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    net = nn.Linear(64, 10)
    made = fitted(onnx.load_model_from_string(exported(net, x)), signature(), x.reshape(4, 1, 8, 8))
    assert [value.name for value in (*made.graph.input, *made.graph.output)] == ["x", "y"]
    found = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x.reshape(4, 1, 8, 8)})[0]
    np.testing.assert_allclose(found, torch.softmax(net(torch.from_numpy(x)), 1).detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": 3}, "gives 10 outputs a row, the data have 3 classes"),
        ({"shape": (1, 9, 9)}, "takes rows of 1 x 8 x 8, the data have rows of 1 x 9 x 9"),
    ],
)
def test_what_does_not_fit_is_told(given, message):
    shape = given.get("shape", (1, 8, 8))
    with pytest.raises(DataError, match=message):
        fitted(onnx.load_model_from_string(exported(digits_net(), ROWS)), signature(**given), np.zeros((2, *shape)))


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Settings, {}, "model must be given"),
        (
            RecipesSettings,
            {"codings": ["int5"], "keeps": [0.0], "layers": 0},
            "No coding 'int5'(.|\n)*keeps(.|\n)*layers",
        ),
        (TrainSettings, {"steps": 0, "teacher_share": 2.0}, "steps(.|\n)*teacher_share"),
    ],
)
def test_wrong_settings_are_told_together(kind, given, message):
    with pytest.raises(SettingsError, match=message):
        kind(**given)


def test_the_family_goes_to_workers_without_its_network(model):
    from multiprocessing.reduction import ForkingPickler

    _, family = recipes_for(settings_for(model, "unused"), load(DataSettings(), seed=0), is_labelled=True)
    assert len(bytes(ForkingPickler.dumps(family))) < 2 * len(family.model) + 20_000
    assert isinstance(family, Recipes)
