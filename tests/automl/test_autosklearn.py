"""auto-sklearn as an engine: what it finds becomes small files; without it there is a clear error."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from automl.autosklearn.family import Pipelines
from automl.autosklearn.forest import KINDS, ensemble_of
from automl.autosklearn.found import Encoding, Found, Pipeline
from automl.autosklearn.install import FOLDER, InstallSettings, install, interpreter
from automl.autosklearn.lower import lower
from automl.autosklearn.search import run
from automl.autosklearn.settings import AutoSklearnSettings, AutoSklearnSpace
from automl.table import table_of
from engine.artifact import Artifact
from engine.backends.settings import BackendSettings
from engine.checks import family_checks
from engine.errors import ArtifactError, MissingExtraError, SettingsError
from engine.load import DataSettings, load, load_frame

skl2onnx = pytest.importorskip("skl2onnx")


def mixed(kind="three"):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=300), "b": rng.normal(size=300), "town": rng.choice(["Ulm", "Bonn", "Köln"], 300)}
    )
    score = frame.a + (frame.town == "Ulm") + 0.1 * rng.normal(size=300)
    frame.loc[::11, "b"] = np.nan
    frame.loc[::19, "town"] = None
    y = score if kind == "values" else pd.cut(score, 3 if kind == "three" else 2, labels=False)
    return load_frame(frame, y, settings=DataSettings("frame", test_share=0.0, folds=2)).dataset


def exported(estimator, data, place, *, how="none", raw=False):
    """What the runner leaves, made here with scikit-learn of this environment."""
    encoding, table, split = Encoding.of(data), table_of(data), data.splits[0]
    x = encoding.apply(table.columns, table.vocabularies)
    for part, rows in (("train", split.train), ("all", np.arange(len(x)))):
        model = make_pipeline(SimpleImputer(), StandardScaler(), estimator).fit(x[rows], table.y[rows])
        told = {"raw_scores": True} if raw else {"zipmap": False}
        options = {id(estimator): told} if data.signature.classes else None
        types = [("x", skl2onnx.common.data_types.FloatTensorType([None, x.shape[1]]))]
        made = skl2onnx.to_onnx(model, initial_types=types, options=options, target_opset={"": 15, "ai.onnx.ml": 3})
        output = made.graph.output[-1]
        del made.graph.output[:]
        made.graph.output.append(output)
        (place / f"0_{part}.onnx").write_bytes(made.SerializeToString())
        valid = x[split.valid]
        if raw:
            scores = model.decision_function(valid)
            says = np.stack([1 / (1 + np.exp(scores)), 1 / (1 + np.exp(-scores))], 1)
        else:
            says = model.predict_proba(valid) if data.signature.classes else model.predict(valid)[:, None]
        if how == "softmax":
            says = np.exp(says) / np.exp(says).sum(axis=1, keepdims=True)
        np.save(place / f"0_{part}.npy", says)
    pipeline = Pipeline(type(estimator).__name__, how, 0.1, {"depth": 3}, str(place / "0"))
    return Found((pipeline,), encoding, ())


CASES = {
    "forest": ("three", ExtraTreesClassifier(30, max_depth=6, random_state=0), {}),
    "two classes": ("two", ExtraTreesClassifier(30, max_depth=6, random_state=0), {}),
    "values": ("values", RandomForestRegressor(20, max_depth=6, random_state=0), {}),
    "perceptron": ("three", MLPClassifier((16,), max_iter=60, tol=1.0, random_state=0), {}),
    "discriminant": ("three", LinearDiscriminantAnalysis(), {"how": "softmax"}),
    "decision": ("two", LinearSVC(random_state=0), {"how": "decision", "raw": True}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_a_pipeline_becomes_one_small_file_that_answers_as_it_does(name, tmp_path):
    kind, estimator, options = CASES[name]
    data = mixed(kind)
    found = exported(estimator, data, tmp_path, **options)
    table, valid = table_of(data), data.valid(0)
    artifact = lower(found.pipelines[0], "train", "float32", found.encoding, table, valid)
    assert np.abs(artifact.outputs(valid.inputs()) - found.pipelines[0].says("train")).max() < 0.05
    assert artifact.card["parity"]["pipeline_difference"] < 0.01
    model = onnx.load_model_from_string(artifact.model)
    assert not {node.op_type for node in model.graph.node if node.domain == "ai.onnx.ml"}
    assert "ai.onnx.ml" not in {entry.domain for entry in model.opset_import}
    coded = lower(found.pipelines[0], "train", "int8", found.encoding, table, valid)
    assert coded.size <= artifact.size < len(found.pipelines[0].file("train")) + 1500
    if name in ("forest", "values"):
        assert artifact.size < len(found.pipelines[0].file("train")) / 3


def test_a_file_that_says_something_else_is_refused(tmp_path):
    data = mixed()
    found = exported(ExtraTreesClassifier(5, max_depth=3, random_state=0), data, tmp_path)
    np.save(tmp_path / "0_train.npy", found.pipelines[0].says("train")[:, ::-1])
    with pytest.raises(ArtifactError, match=r"off the pipeline's answers, at most 0\.02"):
        lower(found.pipelines[0], "train", "float32", found.encoding, table_of(data), data.valid(0))


def test_the_laws_of_families_hold(tmp_path):
    data = mixed()
    found = exported(ExtraTreesClassifier(10, max_depth=4, random_state=0), data, tmp_path)
    family = Pipelines(AutoSklearnSpace(), data.signature, "log_loss", found)
    for _, check in family_checks():
        check(family, replace(data, splits=data.splits[:1]))


def test_trees_are_read_from_a_file(tmp_path):
    data = mixed()
    found = exported(ExtraTreesClassifier(5, max_depth=3, random_state=0), data, tmp_path)
    model = onnx.load_model_from_string(found.pipelines[0].file("train"))
    (node,) = [node for node in model.graph.node if node.op_type in KINDS]
    ensemble = ensemble_of(node, 6, 3)
    assert len(ensemble.trees) == 5
    assert np.allclose(ensemble.predict(np.zeros((1, 6), np.float32)).sum(), 1)
    for attribute in node.attribute:
        if attribute.name == "nodes_modes":
            attribute.strings[0] = b"BRANCH_GT"
    with pytest.raises(ArtifactError, match="BRANCH_GT"):
        ensemble_of(node, 6, 3)


def test_without_auto_sklearn_the_error_says_what_to_do(tmp_path):
    settings = AutoSklearnSettings(
        data=DataSettings("wine"), space=AutoSklearnSpace(python=str(tmp_path / "none")), run=str(tmp_path / "run")
    )
    with pytest.raises(MissingExtraError, match="make autosklearn"):
        run(settings)
    assert not (tmp_path / "run").exists()


def test_only_python_3_9_will_do(tmp_path):
    with pytest.raises(SettingsError, match=r"Python 3\.9"):
        install(InstallSettings(python=str(tmp_path / "python"), folder=str(tmp_path)))
    if shutil.which("python3"):
        with pytest.raises(SettingsError, match=r"python3 is none"):
            install(InstallSettings(python="python3", folder=str(tmp_path)))


def test_settings_are_checked():
    with pytest.raises(SettingsError, match=r"space\.codings has no 'int9'") as caught:
        AutoSklearnSpace(codings=["int9"], pipelines=0, seconds=1)
    assert "pipelines must be at least 1" in str(caught.value)
    assert "seconds must be at least 30" in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(not interpreter(FOLDER).exists(), reason="auto-sklearn is not set up: make autosklearn")
def test_the_real_one(tmp_path):
    settings = AutoSklearnSettings(
        data=DataSettings("wine"),
        space=AutoSklearnSpace(seconds=90, pipelines=4),
        backend=BackendSettings(name="serial"),
        budget=8,
        workers=1,
        run=str(tmp_path / "run"),
        quiet=True,
    )
    found = run(settings)
    assert found.members
    best = found.members[0].artifact
    x, y = load_wine(return_X_y=True)
    assert (Artifact(best.model).predict({"x": x.astype(np.float32)}) == y.astype(str)).mean() > 0.9
    assert load(settings.data, seed=0).dataset.signature.classes == best.classes
