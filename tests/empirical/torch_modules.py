"""Small PyTorch modules, and their kernel by plain autograd in float64."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

ROUNDING = 1e-12
OUTPUTS = ("trace", "full", "diagonal", "pseudo")


class Residual(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x):
        return x + self.parts(x)


class Transformer(nn.Module):
    """Embedding, one block, and an output with the weights of the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.out = nn.Linear(8, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        return self.out(self.block(self.embedding(x)).mean(1))


class LastState(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell, self.out = cell, nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class Own(nn.Module):
    """A linear layer and a function of it."""

    def __init__(self, forward):
        super().__init__()
        self.layer, self.function = nn.Linear(4, 3), forward

    def forward(self, x):
        return self.function(self.layer, x)


def mlp():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def cnn():
    return nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(4, 3, 2), nn.Flatten(), nn.Linear(12, 3))


def batch_norm():
    block = Residual(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.3))
    module = nn.Sequential(block, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 9, 2))
    with torch.no_grad():
        module(torch.randn(20, 2, 6, 6))  # running statistics other than those it begins with
    return module


def layer_norm():
    block = Residual(nn.LayerNorm([2, 6, 6]), nn.Conv2d(2, 2, 3, padding=1), nn.SiLU())
    return nn.Sequential(block, nn.GroupNorm(1, 2), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(8, 2))


def partly_frozen():
    module = mlp()
    module[0].requires_grad_(False)
    module[2].bias.requires_grad_(False)
    return module


IMAGE, POINT, TOKENS = (2, 6, 6), (4,), 7
MODULES = {
    "mlp": (mlp, POINT),
    "cnn": (cnn, IMAGE),
    "batch norm": (batch_norm, IMAGE),
    "layer norm": (layer_norm, IMAGE),
    "transformer": (Transformer, TOKENS),
    "rnn": (lambda: LastState(nn.RNN(3, 4, batch_first=True)), (5, 3)),
    "lstm": (lambda: LastState(nn.LSTM(3, 4, batch_first=True, bidirectional=False)), (5, 3)),
    "gru": (lambda: LastState(nn.GRU(3, 4, num_layers=2, dropout=0.2, batch_first=True)), (5, 3)),
    "frozen": (partly_frozen, POINT),
    "one output": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 1), nn.Flatten(0)), POINT),
    "parametrized": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Tanh()), POINT),
    "sparse embedding": (lambda: nn.Sequential(nn.Embedding(7, 2, sparse=True), nn.Flatten(), nn.Linear(6, 2)), TOKENS),
    "in place": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)), POINT),
    "value-dependent": (lambda: Own(lambda layer, x: torch.cat([layer(r[None]) * (2 if r.sum() > 0 else 1) for r in x])), POINT),
    "new tensors": (lambda: Own(lambda layer, x: layer(x) + torch.arange(3.0) / 3 + torch.zeros(len(x), 3)), POINT),
}


def built(name):
    torch.manual_seed(0)
    make, shape = MODULES[name]
    return make(), points(shape, 5, 1), points(shape, 3, 2)


def points(shape, n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(shape, size=(n, 3)) if shape == TOKENS else rng.standard_normal((n, *shape))


def gradients(module, x, names):
    """Of every point and output by plain autograd in float64, the parameters `names` side by side, (N, O, P)."""
    module = copy.deepcopy(module).double().eval()
    leaves = [parameter for name, parameter in module.named_parameters() if name in names]

    def row(output):
        found = torch.autograd.grad(output, leaves, retain_graph=True)
        return np.concatenate([(value.to_dense() if value.is_sparse else value).numpy().ravel() for value in found])

    return np.stack([[row(output) for output in module(torch.tensor(point[None])).ravel()] for point in x])


def trained(module):
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def naive(module, x1, x2, names=None):
    first, second = (gradients(module, x, names or trained(module)) for x in (x1, x2))
    full = np.einsum("iop,jqp->ijoq", first, second)
    count = full.shape[-1]
    sums = {"trace": np.einsum("ijoo->ij", full) / count, "pseudo": full.sum((2, 3)) / count}
    return {"full": full, "diagonal": np.einsum("ijoo->ijo", full), **sums}


def close(a, b, tolerance=ROUNDING):
    return a.shape == b.shape and a.dtype == b.dtype and np.abs(a - b).max() <= tolerance * np.abs(b).max()
