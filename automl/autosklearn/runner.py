"""Runs in auto-sklearn's own interpreter: searches, trains its best pipelines again, and writes them as ONNX files.

`python -I runner.py request.json`. The file stands alone, knows nothing of this project and runs on Python 3.9. Rows
are numbers only (categories in one-hot form, NaN for missing). For each pipeline it leaves two ONNX files, trained on
the training rows and on all rows, and what the pipeline itself says of the validation rows, for the parity gate.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

PREPROCESSORS = {
    "classification": [
        "no_preprocessing",
        "select_percentile_classification",
        "pca",
        "polynomial",
        "extra_trees_preproc_for_classification",
    ],
    "regression": [
        "no_preprocessing",
        "select_percentile_regression",
        "pca",
        "polynomial",
        "extra_trees_preproc_for_regression",
    ],
}
MODELS = {
    "classification": [
        "decision_tree",
        "extra_trees",
        "gaussian_nb",
        "k_nearest_neighbors",
        "lda",
        "liblinear_svc",
        "mlp",
        "passive_aggressive",
        "qda",
        "random_forest",
        "sgd",
    ],
    "regression": [
        "ard_regression",
        "decision_tree",
        "extra_trees",
        "k_nearest_neighbors",
        "liblinear_svr",
        "mlp",
        "random_forest",
        "sgd",
    ],
}
SOFTMAXED = ("lda", "qda")  # over probabilities
DECIDING = ("liblinear_svc", "passive_aggressive")  # over the decision function
OPSET = {"": 15, "ai.onnx.ml": 3}
SEARCH_SHARE = 0.6  # of the time; the rest trains the best pipelines again and writes them
PARITY = 1e-3


def search(request: dict[str, Any], x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """Run auto-sklearn and return its configurations, those of the smallest validation error first."""
    metrics = import_module("autosklearn.metrics")
    task = request["task"]
    names = {
        "auc": "roc_auc",
        "log_loss": "log_loss",
        "balanced_accuracy": "balanced_accuracy",
        "mae": "mean_absolute_error",
    }
    fallback = "accuracy" if task == "classification" else "root_mean_squared_error"
    name = "AutoSklearnClassifier" if task == "classification" else "AutoSklearnRegressor"
    kind = getattr(import_module(f"autosklearn.{task}"), name)
    seconds = max(20, int(request["seconds"] * SEARCH_SHARE))
    model = kind(
        time_left_for_this_task=seconds,
        per_run_time_limit=max(5, seconds // 5),
        n_jobs=request["cores"],
        seed=request["seed"],
        memory_limit=4096,  # megabytes a run; without a limit it stops before it begins
        include=_included(task),
        metric=getattr(metrics, names.get(request["metric"], fallback)),
        delete_tmp_folder_after_terminate=True,
    )
    model.fit(x, y)  # named by the caller, the kinds of the columns would leave out the genes of their preparation
    history = model.automl_.runhistory_
    best: dict[int, float] = {}
    for key, value in history.data.items():
        if value.status.name in ("SUCCESS", "DONOTADVANCE") and np.isfinite(value.cost):
            best[key.config_id] = min(value.cost, best.get(key.config_id, np.inf))
    order = sorted(best, key=lambda number: (best[number], number))
    return [{"cost": best[number], "config": history.ids_config[number].get_dictionary()} for number in order]


def trained(request: dict[str, Any], config: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Any:
    """Return auto-sklearn's pipeline of a configuration, trained on some rows."""
    task = request["task"]
    name = "SimpleClassificationPipeline" if task == "classification" else "SimpleRegressionPipeline"
    kind = getattr(import_module(f"autosklearn.pipeline.{task}"), name)
    facts = {"sparse": False, "multilabel": False, "multiclass": len(np.unique(y)) > 2, "signed": True}
    pipeline = kind(
        config=config,
        feat_type=dict.fromkeys(range(x.shape[1]), "numerical"),
        dataset_properties=facts,
        include=_included(task),
        random_state=request["seed"],
    )
    pipeline.fit(x, y)
    return pipeline


def written(pipeline: Any, task: str, model: str, width: int) -> tuple[bytes, str]:
    """Return a trained pipeline as an ONNX file of one input `x`, and how its output becomes auto-sklearn's answer.

    Returns:
        The file, and `none` for probabilities or values as they are, `softmax` over them, or `decision` for a decision
        function that auto-sklearn turns into probabilities.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.pipeline import Pipeline

    plain = Pipeline([(name, step) for name, step in _plain_steps(pipeline) if step is not None])
    options: dict[Any, Any] = {}
    if task == "classification":
        last = plain.steps[-1][1]
        options = {id(last): {"raw_scores": True} if model in DECIDING else {"zipmap": False}}
        if model in DECIDING and hasattr(last, "partial_fit"):  # what has no probabilities has no map of them
            options[id(last)]["zipmap"] = False
    made = to_onnx(plain, initial_types=[("x", FloatTensorType([None, width]))], options=options, target_opset=OPSET)
    output = made.graph.output[-1]
    del made.graph.output[:]
    made.graph.output.append(output)
    how = "softmax" if model in SOFTMAXED else "decision" if model in DECIDING else "none"
    return made.SerializeToString(), how


def answer(path: Path) -> None:
    """Do what a request says and write `answer.json` beside it."""
    request = json.loads(path.read_text())
    data = np.load(path.with_name("rows.npz"))
    x, y, train, valid = data["x"], data["y"], data["train"], data["valid"]
    end = time.monotonic() + request["seconds"]
    found = search(request, x[train], y[train])
    kind = "classifier" if request["task"] == "classification" else "regressor"
    pipelines: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for entry in found:
        if len(pipelines) >= request["pipelines"] or (pipelines and time.monotonic() > end):
            break
        config = entry["config"]
        model = str(config[f"{kind}:__choice__"])
        parts = (config["feature_preprocessor:__choice__"], model)
        name = " + ".join(part for part in parts if part != "no_preprocessing")
        number = len(pipelines)
        try:
            for part, rows in (("train", train), ("all", np.arange(len(x)))):
                pipeline = trained(request, config, x[rows], y[rows])
                content, how = written(pipeline, request["task"], model, x.shape[1])
                path.with_name(f"{number}_{part}.onnx").write_bytes(content)
                says = pipeline.predict_proba(x[valid]) if kind == "classifier" else pipeline.predict(x[valid])
                np.save(path.with_name(f"{number}_{part}.npy"), np.asarray(says, np.float64).reshape(len(valid), -1))
        except Exception as error:  # a pipeline that cannot be written is told and left out
            skipped.append({"name": name, "why": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
            continue
        pipelines.append({"name": name, "how": how, "cost": entry["cost"], "config": config})
    told = {"pipelines": pipelines, "skipped": skipped, "tried": len(found), "version": _version()}
    path.with_name("answer.json").write_text(json.dumps(told, default=lambda value: value.item()))


def _included(task: str) -> dict[str, list[str]]:
    name = "classifier" if task == "classification" else "regressor"
    return {name: MODELS[task], "feature_preprocessor": PREPROCESSORS[task]}


def _plain_steps(pipeline: Any) -> list[tuple[str, Any]]:
    """Return the scikit-learn steps inside auto-sklearn's wrappers; None for one that does nothing."""
    steps = []
    for name, wrapper in pipeline.steps:
        if name == "data_preprocessor":
            (_, numbers, _), *_ = wrapper.choice.column_transformer.transformers_
            steps += [(f"numbers_{inner}", _inner(part)) for inner, part in numbers.steps]
        else:
            steps.append((name, _inner(wrapper)))
    return steps


def _inner(wrapper: Any) -> Any:
    """Return the scikit-learn object in a component, a choice of components, or nothing."""
    component = getattr(wrapper, "choice", wrapper)
    for attribute in ("estimator", "preprocessor"):
        found = getattr(component, attribute, None)
        if found is not None:
            return None if isinstance(found, str) else found
    return None


def _version() -> str:
    return str(import_module("autosklearn").__version__)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    answer(Path(sys.argv[1]))
