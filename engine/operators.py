"""The operators that a model file from outside may hold, and why others are refused."""

from __future__ import annotations

from collections.abc import Set

__all__ = ["ALLOWED", "KNOWN_PREFIXES", "REFUSED", "SIZED", "refusal"]

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil
    Celu Clip Cos Cosh CumProd CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Floor Gelu
    Greater GreaterOrEqual HardSigmoid HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax
    Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
    Sinh Softmax Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_LAYERS = """
    Attention AveragePool BatchNormalization Conv ConvInteger ConvTranspose Einsum GRU Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool GroupNormalization InstanceNormalization LRN LSTM LayerNormalization LpNormalization
    LpPool MatMul MatMulInteger MaxPool MeanVarianceNormalization QLinearConv QLinearMatMul RMSNormalization RNN
    RotaryEmbedding
"""
_SHAPES = """
    ArgMax ArgMin Compress Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements
    GatherND NonZero OneHot Pad Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Reshape Resize ReverseSequence Scatter ScatterElements ScatterND Shape Size
    Slice SpaceToDepth Split Squeeze StringNormalizer TfIdfVectorizer Tile TopK Transpose Trilu Unique Unsqueeze
    Upsample
"""
_TABLES = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper FeatureVectorizer Imputer LabelEncoder LinearClassifier
    LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier
    TreeEnsembleRegressor ZipMap
"""

# What this project writes, and what exporters write for small networks and tables: PyTorch, scikit-learn, and the
# quantizers of ONNX Runtime in the QDQ form.
ALLOWED: dict[str, Set[str]] = {
    "": frozenset((_ELEMENTWISE + _LAYERS + _SHAPES).split()),
    "ai.onnx.ml": frozenset(_TABLES.split()),
}
ALLOWED["ai.onnx"] = ALLOWED[""]

# The size of what these return is in the *values* of an input or an attribute, not in the shapes of the inputs: a file
# of 200 bytes could take gigabytes. They are read where that size follows from the file.
_SIZED = """
    AveragePool ConstantOfShape Conv ConvInteger ConvTranspose Expand EyeLike GRU LSTM LpPool MaxPool OneHot Pad
    QLinearConv RNN Range Resize Tile Upsample
"""
SIZED = frozenset(_SIZED.split())

_BY_REASON = {
    "can take any amount of memory or time": "Loop Scan If SequenceMap StringConcat StringSplit RegexFullMatch "
    "ImageDecoder NonMaxSuppression MaxUnpool MaxRoiPool RoiAlign Col2Im CenterCropPad HannWindow HammingWindow "
    "BlackmanWindow MelWeightMatrix DFT STFT AffineGrid GridSample DeformConv Det",
    "gives other outputs at every call": "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial "
    "Bernoulli",
    "works on sequences or optional values, whose sizes cannot be told": "ConcatFromSequence SequenceAt "
    "SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence Optional "
    "OptionalGetElement OptionalHasElement",
    "belongs to training": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
}
REFUSED = {name: reason for reason, names in _BY_REASON.items() for name in names.split()}

# Domains in which ONNX Runtime has operators of its own: a local function of such a name might not be what runs.
KNOWN_PREFIXES = ("ai.onnx", "com.microsoft", "com.ms", "org.pytorch")


def refusal(domain: str, operator: str) -> str | None:
    """Return why an operator is refused and what to do, or None if it is read.

    Args:
        domain: As in the node; empty for the standard operators.
        operator: Its type.

    Example:
        >>> refusal("", "Conv"), refusal("", "Loop")
        (None, 'operator Loop can take any amount of memory or time; export the model without it')
    """
    if operator in ALLOWED.get(domain, frozenset()):
        return None
    if domain.startswith("com.microsoft"):
        return (
            f"operator {domain}.{operator} is not a standard one; export without optimisation for one runtime, "
            "and quantize in the QDQ form"
        )
    if domain not in ALLOWED:
        return f"operator {domain}.{operator} is not a standard one; export the model with standard operators"
    if domain != "ai.onnx.ml" and operator in REFUSED:
        return f"operator {operator} {REFUSED[operator]}; export the model without it"
    return f"operator {operator} is not among those that are read; export the model without it"
