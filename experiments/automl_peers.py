"""One peer of automl on one fold, in the peer's own interpreter: `python -I automl_peers.py request.json`.

The file stands alone, knows nothing of this project and runs on Python 3.9. The request names a system, two csv files,
the time and the cores; the answer is `answer.json` beside it, with an array of predictions for each file that the peer
would ship. `experiments/bench_automl.py` writes the one and reads the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle  # noqa: TID251 - what the peers ship is a pickle; here only its length counts
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, NamedTuple  # noqa: UP035 - Python 3.9

import numpy as np
import pandas as pd

FEW, MANY = 20, 3  # repeats of a timing of one row, and of many
MANY_ROWS = 10_000
GRID = [(trees, leaves) for leaves in (7, 15, 31, 63) for trees in (25, 100, 400)]
VALID_SHARE = 0.2


class Fold(NamedTuple):
    """What a system gets: `target` of the rows is a class number from 0, or a value."""

    request: dict[str, Any]
    train: pd.DataFrame
    y: pd.Series
    test: pd.DataFrame
    place: Path

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class."""
        return str(self.request["task"]) == "classification"

    def named(self, auc: str, log_loss: str, rmse: str) -> str:
        """Return the peer's own word for the metric."""
        return {"auc": auc, "log_loss": log_loss, "rmse": rmse}[self.request["metric"]]


class Shipped(NamedTuple):
    """A model that can be deployed.

    Args:
        name: Tells several models of one system apart.
        size: Bytes on disk.
        outputs: From rows to probabilities, with `classes`, or to values.
        labels: From rows to labels, timed.
        classes: Class numbers in the order of the columns of `outputs`.
        valid_error: On validation rows, where the system ships several models to choose from.
    """

    name: str
    size: int
    outputs: Callable[[pd.DataFrame], Any]
    labels: Callable[[pd.DataFrame], Any]
    classes: list[int] | None = None
    valid_error: float | None = None


def autogluon(fold: Fold) -> list[Shipped]:
    """AutoGluon: the best it can, with a limit of inference time, and optimised for deployment."""
    predictors = import_module("autogluon.tabular").TabularPredictor
    request = fold.request
    options: dict[str, dict[str, Any]] = {
        "autogluon": {"presets": "best_quality"},
        "autogluon_limit": {"presets": "high_quality", "infer_limit": 0.0005, "infer_limit_batch_size": MANY_ROWS},
        "autogluon_deploy": {"presets": ["good_quality", "optimize_for_deployment"]},
    }
    kind = "regression"
    if fold.is_classification:
        kind = "binary" if fold.y.nunique() == 2 else "multiclass"
    metric = fold.named("roc_auc", "log_loss", "root_mean_squared_error")
    rows = fold.train.assign(**{request["target"]: fold.y})
    predictor = predictors(
        request["target"], problem_type=kind, eval_metric=metric, path=str(fold.place / "model"), verbosity=0
    )
    predictor.fit(  # its own choice of stacking needs Ray beside it
        rows,
        dynamic_stacking=False,
        time_limit=request["seconds"],
        num_cpus=request["cores"],
        num_gpus=0,
        **options[request["system"]],
    )
    path = predictor.clone_for_deployment(str(fold.place / "clone"))  # as its own documentation says to ship it
    shipped = predictors.load(path, verbosity=0)
    shipped.persist()
    classes = [int(label) for label in shipped.class_labels] if fold.is_classification else None
    outputs = shipped.predict_proba if fold.is_classification else shipped.predict
    return [Shipped(request["system"], _disk(Path(path)), outputs, shipped.predict, classes)]


def flaml(fold: Fold) -> list[Shipped]:
    """FLAML: its pickled AutoML object."""
    model = import_module("flaml").AutoML()
    metric = fold.named("roc_auc", "log_loss", "rmse")
    model.fit(
        fold.train,
        fold.y,
        task="classification" if fold.is_classification else "regression",
        metric=metric,
        time_budget=fold.request["seconds"],
        n_jobs=fold.request["cores"],
        seed=fold.request["seed"],
        verbose=0,
    )
    return [_pickled("flaml", model, fold)]


def tpot(fold: Fold) -> list[Shipped]:
    """TPOT: its pickled pipeline, for categories in one-hot form, which it wants itself."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    categories = fold.request["categorical"]
    numbers = [name for name in fold.train if name not in categories]
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=30, sparse_output=False)
    prepared = make_column_transformer((SimpleImputer(strategy="median"), numbers), (one_hot, categories))
    x = np.asarray(prepared.fit_transform(fold.train), float)
    kind = getattr(import_module("tpot"), "TPOTClassifier" if fold.is_classification else "TPOTRegressor")
    model = kind(
        scorers=[fold.named("roc_auc", "neg_log_loss", "neg_root_mean_squared_error")],
        scorers_weights=[1],
        max_time_mins=fold.request["seconds"] / 60,
        max_eval_time_mins=fold.request["seconds"] / 180,
        n_jobs=fold.request["cores"],
        random_state=fold.request["seed"],
        verbose=0,
    )
    model.fit(x, fold.y)
    return [_pickled("tpot", make_pipeline(prepared, model.fitted_pipeline_), fold)]


def autosklearn(fold: Fold) -> list[Shipped]:
    """auto-sklearn: its pickled ensemble."""
    metrics, task = import_module("autosklearn.metrics"), fold.request["task"]
    name = "AutoSklearnClassifier" if fold.is_classification else "AutoSklearnRegressor"
    kind = getattr(import_module(f"autosklearn.{task}"), name)
    model = kind(
        time_left_for_this_task=int(fold.request["seconds"]),
        per_run_time_limit=max(10, int(fold.request["seconds"] // 6)),
        n_jobs=fold.request["cores"],
        seed=fold.request["seed"],
        memory_limit=8192,
        metric=getattr(metrics, fold.named("roc_auc", "log_loss", "root_mean_squared_error")),
    )
    whole = fold._replace(train=_categories_of_both(fold, "train"), test=_categories_of_both(fold, "test"))
    model.fit(whole.train, whole.y.to_numpy())
    return [_pickled("autosklearn", model, whole)]


def boosted(fold: Fold) -> list[Shipped]:
    """LightGBM over a small grid with ordinal categories, each pipeline as skl2onnx and onnxmltools write it."""
    import lightgbm
    from sklearn.model_selection import train_test_split

    end = time.time() + fold.request["seconds"] * 0.8
    kind = lightgbm.LGBMClassifier if fold.is_classification else lightgbm.LGBMRegressor
    stratify = fold.y if fold.is_classification and fold.y.value_counts().min() > 1 else None
    x, x_valid, y, y_valid = train_test_split(
        fold.train, fold.y, test_size=VALID_SHARE, random_state=fold.request["seed"], stratify=stratify
    )
    made: list[Shipped] = []
    for trees, leaves in GRID:
        if made and time.time() > end:
            break
        settings = {"num_leaves": leaves, "learning_rate": min(0.3, 10 / trees), "min_child_samples": 10}
        model = kind(n_estimators=trees, n_jobs=fold.request["cores"], verbose=-1, random_state=0, **settings)
        judged = _ordinal(fold, model).fit(x, y)
        error = _error(fold, judged, x_valid, y_valid.to_numpy())
        made.append(_converted(f"{trees} x {leaves}", judged.fit(fold.train, fold.y), fold, error))
    return made


SYSTEMS = {
    "autogluon": autogluon,
    "autogluon_limit": autogluon,
    "autogluon_deploy": autogluon,
    "flaml": flaml,
    "tpot": tpot,
    "autosklearn": autosklearn,
    "lightgbm": boosted,
}


def _ordinal(fold: Fold, model: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    categories = fold.request["categorical"]
    numbers = [name for name in fold.train if name not in categories]
    return make_pipeline(make_column_transformer(("passthrough", numbers), (codes, categories)), model)


def _error(fold: Fold, model: Any, x: pd.DataFrame, y: np.ndarray) -> float:
    from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score

    if not fold.is_classification:
        return float(np.sqrt(mean_squared_error(y, model.predict(x))))
    says = model.predict_proba(x)
    if fold.request["metric"] == "auc":
        return 1.0 - float(roc_auc_score(y, says[:, 1]))
    return float(log_loss(y, says, labels=list(model.classes_)))


def _converted(name: str, pipeline: Any, fold: Fold, error: float) -> Shipped:
    import onnxruntime
    from skl2onnx import to_onnx, update_registered_converter
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    convert = import_module("onnxmltools.convert.lightgbm.operator_converters.LightGbm").convert_lightgbm
    model = pipeline.steps[-1][1]
    shapes = (
        calculate_linear_classifier_output_shapes
        if fold.is_classification
        else calculate_linear_regressor_output_shapes
    )
    options = {"options": {"nocl": [True, False], "zipmap": [True, False]}} if fold.is_classification else {}
    update_registered_converter(type(model), f"Lgbm{type(model).__name__}", shapes, convert, **options)
    categories = fold.request["categorical"]
    types = [(c, StringTensorType([None, 1]) if c in categories else FloatTensorType([None, 1])) for c in fold.train]
    chosen = {id(model): {"zipmap": False}} if fold.is_classification else None
    content = to_onnx(pipeline, initial_types=types, options=chosen, target_opset={"": 15, "ai.onnx.ml": 3})
    made = content.SerializeToString()
    (fold.place / f"{name}.onnx").write_bytes(made)
    opened = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])

    names = [entry.name for entry in opened.get_inputs()]  # a column with a dot in its name is called otherwise there

    def run(rows: pd.DataFrame) -> list[Any]:
        columns = {
            name: (rows[c].astype(str) if c in categories else rows[c].astype(np.float32)).to_numpy()[:, None]
            for name, c in zip(names, rows, strict=True)
        }
        return list(opened.run(None, columns))

    classes = [int(label) for label in model.classes_] if fold.is_classification else None
    return Shipped(name, len(made), lambda rows: run(rows)[-1], lambda rows: run(rows)[0], classes, error)


def _pickled(name: str, model: Any, fold: Fold) -> Shipped:
    """Return a model that is shipped as a pickle."""
    path = fold.place / "model.pkl"
    with path.open("wb") as stream:
        pickle.dump(model, stream, protocol=4)
    classes = [int(label) for label in model.classes_] if fold.is_classification else None
    outputs = model.predict_proba if fold.is_classification else model.predict
    return Shipped(name, path.stat().st_size, outputs, model.predict, classes)


def _disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _categories_of_both(fold: Fold, part: str) -> pd.DataFrame:
    """Return rows whose categorical columns know the same categories in training and test."""
    rows: pd.DataFrame = getattr(fold, part).copy()
    for name in fold.request["categorical"]:
        known = sorted({*fold.train[name].dropna().astype(str), *fold.test[name].dropna().astype(str)})
        rows[name] = pd.Categorical(rows[name], categories=known)
    return rows


def _read(path: str, request: dict[str, Any]) -> tuple[pd.DataFrame, pd.Series]:
    kinds = dict.fromkeys(request["categorical"], str)
    rows = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=kinds)
    for name in request["categorical"]:
        rows[name] = rows[name].fillna("missing").astype(str)
    for name in request["times"]:
        moment = pd.to_datetime(rows[name])
        if request["system"].startswith("autogluon"):  # knows what to do with a time
            rows[name] = moment
            continue
        parts = {"year": moment.dt.year, "month": moment.dt.month, "day": moment.dt.day, "weekday": moment.dt.weekday}
        parts |= {"hour": moment.dt.hour, "days": (moment - pd.Timestamp(0)) / pd.Timedelta(days=1)}
        rows = rows.drop(columns=name).assign(
            **{f"{name}_{part}": value.astype(float) for part, value in parts.items()}
        )
    y = rows.pop(request["target"])
    return rows, y


def _milliseconds(call: Callable[[pd.DataFrame], Any], rows: pd.DataFrame, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(rows)
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def answer(path: Path) -> None:
    """Do what a request says and write `answer.json` beside it."""
    request = json.loads(path.read_text())
    train, y = _read(request["train"], request)
    test, _ = _read(request["test"], request)
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        files = SYSTEMS[request["system"]](Fold(request, train, y, test, path.parent))
    told: dict[str, Any] = {"fit_seconds": time.perf_counter() - start, "files": []}
    many = pd.concat([test] * (MANY_ROWS // len(test) + 1)).iloc[:MANY_ROWS].reset_index(drop=True)
    for number, made in enumerate(files):
        np.save(path.parent / f"{number}.npy", np.asarray(made.outputs(test), float).reshape(len(test), -1))
        entry = {"name": made.name, "bytes": made.size, "classes": made.classes, "valid_error": made.valid_error}
        if number == len(files) - 1:  # the largest: one that is timed is enough
            made.labels(test.iloc[:1])
            entry["one_row_ms"] = _milliseconds(made.labels, test.iloc[:1], FEW)
            entry["many_rows_ms"] = _milliseconds(made.labels, many, MANY)
        told["files"].append(entry)
    (path.parent / "answer.json").write_text(json.dumps(told))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    answer(Path(sys.argv[1]))
