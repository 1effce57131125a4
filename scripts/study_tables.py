"""The study's numbers as Markdown tables, verdicts on the paper's claims, and Figures 7 and 8."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from ogreid.reporting.charts import Chart, Line, line_chart
from ogreid.reporting.paper import published_tables

NETWORKS = {
    "ognet": "OG-Net",
    "small": "OG-Net-Small",
    "deep": "OG-Net-Deep",
    "dgcnn": "DGCNN",
    "pointnet2_ssg": "PointNet++ SSG",
    "pointnet2_msg": "PointNet++ MSG",
    "shufflenetv2": "ShuffleNetV2",
    "mobilenetv2": "MobileNetV2",
    "densenet121": "DenseNet-121",
    "resnet50": "ResNet-50",
}
DOMAINS = {"plaza": "market", "winter": "duke", "transit": "msmt", "platform": "cuhk"}
"""Domain -> the benchmark it is modeled on, in the order of the paper's Table II."""
LOSSES = {"ce": "CE", "circle": "CE + Circle"}
Values = Sequence[float]


class Study:
    """The results of one size of the study, by what was trained."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content, self.k, self.epochs = content, content["k"], content["epochs"]
        self.runs = [run for run in content["runs"] if run["epochs"] == self.epochs]

    def values(
        self,
        network: str,
        number: str = "mAP",
        *,
        loss: str = "ce",
        k: int | None = None,
        train: str = "plaza",
        on: str = "",
    ) -> Values:
        """A value for each seed; empty where there is no such run."""
        chosen = [run for run in self._of(network, k) if (run["loss"], run["train"]) == (loss, train)]
        return [run["numbers"][on or train][number] for run in chosen if (on or train) in run["numbers"]]

    def parameters(self, network: str) -> int:
        """Without the classifier."""
        return int(self._of(network)[0]["parameters"])

    def _of(self, network: str, k: int | None = None) -> list[Mapping[str, Any]]:
        """Runs of a network; OG-Net was trained at several k, each other network at one."""
        return [
            run for run in self.runs if run["network"] == network and (network != "ognet" or run["k"] == (k or self.k))
        ]

    @property
    def neighbors(self) -> list[int]:
        """Every k of Figure 7, ascending."""
        return sorted({run["k"] for run in self.runs if run["network"] == "ognet"})


def blocks(content: Mapping[str, Any]) -> dict[str, str]:
    """The text of each marked place of docs/study.md."""
    study, size = Study(content), content["size"]
    texts = {
        "table1": _inputs(study),
        "table2": _rivals(study),
        "table3": _transfer(study),
        "table4": _parts(study),
        "table5": _residual(study),
        "figure7": _over_k(study),
        "figure8": _over_density(study),
        "claims": _claims(study),
        "cost": _cost(content),
        "made": _revisions(content),
    }
    if len(study.runs) < len(content["runs"]):
        texts["longer"] = _longer(study)
    return {f"{size} {name}": text for name, text in texts.items()}


def charts(content: Mapping[str, Any]) -> dict[str, Chart]:
    """Figures 7 and 8, by the name of their file."""
    study, size = Study(content), content["size"]
    places = {k: float(number) for number, k in enumerate(study.neighbors)}
    values = [study.values("ognet", k=k) for k in places]
    over_k = Line(
        "plaza", [(x, mean(v)) for x, v in zip(places.values(), values, strict=True)], spread=[_sd(v) for v in values]
    )
    lines = []
    for name, rows in _density_rows(content).items():
        lines.append(
            Line(name, [(100 * at, mean(v)) for at, v in rows.items()], spread=[_sd(v) for v in rows.values()])
        )
    return {
        f"{size}_k": line_chart(
            [over_k],
            title="mAP over the neighbors k (1: no graph)",
            x_label="k",
            y_label="mAP, %",
            ticks={place: str(k) for k, place in places.items()},
        ),
        f"{size}_density": line_chart(
            lines,
            title="mAP over the density of testing",
            x_label="points, % of the cloud",
            y_label="mAP, %",
        ),
    }


def _inputs(study: Study) -> str:
    names = {"visible": "visible part only", "image": "image as (x, y, 0)", "small": "scene in 3D"}
    rows = [[name, _cell(study.values(key, "rank1")), _cell(study.values(key))] for key, name in names.items()]
    return table(["OG-Net-Small on", "rank-1", "mAP"], rows, 1)


def _rivals(study: Study) -> str:
    """A row for each network and loss, a pair of columns for each domain on which it was trained and evaluated."""
    rows = []
    for network, name in NETWORKS.items():
        for loss, label in LOSSES.items():
            pairs = [_pair(study, network, loss, domain) for domain in DOMAINS]
            if any(pairs):
                cells = [_cell(values) for pair in pairs for values in pair or ([], [])]
                rows.append([name, label, f"{study.parameters(network) / 1e6:.2f}", *cells])
    histogram = [study.content["histogram"][domain] for domain in DOMAINS]
    cells = [f"{numbers[key]:.1f}" for numbers in histogram for key in ("rank1", "mAP")]
    rows.append(["color histogram", "untrained", "0", *cells])
    heads = [head for domain in DOMAINS for head in (f"{domain} rank-1", "mAP")]
    return table(["network", "loss", "parameters, M", *heads], rows, 2)


def _pair(study: Study, network: str, loss: str, domain: str) -> tuple[Values, Values] | None:
    """Rank-1 and mAP where it was trained; None where it was not."""
    rank1, precision = (study.values(network, number, loss=loss, train=domain) for number in ("rank1", "mAP"))
    return (rank1, precision) if rank1 else None


def _longer(study: Study) -> str:
    """The same networks after more epochs."""
    longest = max(run["epochs"] for run in study.content["runs"])
    later = Study({**study.content, "epochs": longest})
    rows = [
        [name, _cell(study.values(network)), _cell(later.values(network))]
        for network, name in NETWORKS.items()
        if later.values(network)
    ]
    return table(["mAP, CE", f"{study.epochs} epochs", f"{longest} epochs"], rows, 1)


def _transfer(study: Study) -> str:
    rows = []
    for network, name in NETWORKS.items():
        for train in DOMAINS:
            cells = [study.values(network, train=train, on=on) for on in DOMAINS]
            if all(cells):
                rows.append(
                    [
                        name,
                        train,
                        *(f"**{_cell(c)}**" if on == train else _cell(c) for on, c in zip(DOMAINS, cells, strict=True)),
                    ]
                )
    return table(["mAP", "trained on", *(f"on {domain}" for domain in DOMAINS)], rows, 2)


def _parts(study: Study) -> str:
    rows = [
        ["OG-Net", study.values("ognet")],
        ["last graph on position only", study.values("position_graph")],
        ["no graph (k = 1)", study.values("ognet", k=1)],
        ["no graph, no gate", study.values("no_gate")],
    ]
    return table(["network", "mAP"], [[name, _cell(values)] for name, values in rows], 1)


def _residual(study: Study) -> str:
    rows = [["with residual connections", study.values("deep")], ["without", study.values("deep_no_residual")]]
    return table(["OG-Net-Deep", "mAP"], [[name, _cell(values)] for name, values in rows], 1)


def _over_k(study: Study) -> str:
    cells = [_cell(study.values("ognet", k=k)) for k in study.neighbors]
    return table(["k", *map(str, study.neighbors)], [["mAP", *cells]], 1)


def _over_density(study: Study) -> str:
    lines = _density_rows(study.content)
    at = sorted({density for rows in lines.values() for density in rows})
    rows = [[name, *(_cell(rows[density]) for density in at)] for name, rows in lines.items()]
    return table(["mAP, tested with", *(f"{100 * density:g} %" for density in at)], rows, 1)


def _density_rows(content: Mapping[str, Any]) -> dict[str, dict[float, list[float]]]:
    """Name of a line -> density of testing -> a value for each seed."""
    lines: dict[str, dict[float, list[float]]] = {}
    for one in sorted(content["densities"], key=lambda one: (one["trained"], one["seed"])):
        rows = lines.setdefault(f"trained with {100 * one['trained']:g} %", {})
        for density, value in one["mAP"]:
            rows.setdefault(density, []).append(value)
    return lines


def _claims(study: Study) -> str:
    """The paper's claims, each as a difference of two means here."""
    values = study.values
    best_rival = max(("dgcnn", "pointnet2_ssg", "pointnet2_msg"), key=lambda name: mean(values(name) or [0.0]))
    cnn = max(("shufflenetv2", "mobilenetv2"), key=lambda name: mean(values(name) or [0.0]))
    pairs = [
        ("the background helps (Table I)", "+13.4", values("small"), values("visible")),
        ("depth helps: 3D above (x, y, 0) (Table I)", "+0.6", values("small"), values("image")),
        (
            f"OG-Net above the best point network, here {NETWORKS[best_rival]} (Table II)",
            "+21.8",
            values("ognet"),
            values(best_rival),
        ),
        (f"OG-Net above the better small CNN, here {NETWORKS[cnn]} (Table II)", "+9.7", values("ognet"), values(cnn)),
        ("OG-Net-Deep above OG-Net (Table II)", "+2.3", values("deep"), values("ognet")),
        ("OG-Net above OG-Net-Small (Table II)", "+1.1", values("ognet"), values("small")),
        ("Circle loss helps OG-Net (Table II)", "+1.5", values("ognet", loss="circle"), values("ognet")),
        ("the graph helps (Table IV)", "+3.8", values("ognet"), values("ognet", k=1)),
        ("appearance in the last graph helps (Table IV)", "+1.2", values("ognet"), values("position_graph")),
        ("the gate helps, without graph (Table IV)", "+0.9", values("ognet", k=1), values("no_gate")),
        ("residual connections help OG-Net-Deep (Table V)", "+4.4", values("deep"), values("deep_no_residual")),
        ("too many neighbors hurt (Figure 7)", "", values("ognet"), values("ognet", k=max(study.neighbors))),
    ]
    pairs[4:4] = _other_domains(study)
    tested = _density_rows(study.content)["trained with 50 %"]
    other = max((density for density in tested if density != 0.5), key=lambda density: mean(tested[density]))
    pairs.append(
        (
            f"best at the training density, 50 %, here above {100 * other:g} % (Figure 8)",
            "",
            tested[0.5],
            tested[other],
        )
    )
    rows = [
        [claim, paper, f"{mean(a) - mean(b):+.1f} ± {_noise(a, b):.1f}", verdict(a, b)]
        for claim, paper, a, b in pairs
        if a and b
    ]
    return table(["the paper's claim", "mAP, paper", "mAP, here", "here"], rows, 1)


def _other_domains(study: Study) -> list[tuple[str, str, Values, Values]]:
    """OG-Net beside its rivals on the domains other than plaza."""
    paper = {(row["model"], row["loss"]): row for row in published_tables()["retrieval"]}
    pairs = []
    for domain, benchmark in list(DOMAINS.items())[1:]:
        for rival in ("pointnet2_msg", "shufflenetv2"):
            there = paper["ognet", "ce"][benchmark][1] - paper[rival, "ce"][benchmark][1]
            claim = f"OG-Net above {NETWORKS[rival]} on {domain} (Table II)"
            here = [study.values(network, train=domain) for network in ("ognet", rival)]
            pairs.append((claim, f"{there:+.1f}", here[0], here[1]))
    return pairs


def verdict(better: Values, worse: Values) -> str:
    """Whether the first is above the second by more than two standard errors of the difference."""
    difference, noise = mean(better) - mean(worse), _noise(better, worse)
    if abs(difference) <= 2 * noise:
        return "within the spread"
    return "holds" if difference > 0 else "**does not hold**"


def _noise(a: Values, b: Values) -> float:
    """Standard error of the difference of two means."""
    return float((_sd(a) ** 2 / len(a) + _sd(b) ** 2 / len(b)) ** 0.5)


def _cost(content: Mapping[str, Any]) -> str:
    steps: dict[str, list[float]] = {}
    for one in content["cost"]:
        total = steps.setdefault(one["command"][0].removeprefix("ogreid."), [0.0, 0.0])
        total[0] += one["wall"] / 60
        total[1] += one["processor"] / 60
    steps["total"] = [sum(times) for times in zip(*steps.values(), strict=True)]
    rows = [[name, f"{wall:.1f}", f"{processor:.1f}"] for name, (wall, processor) in steps.items()]
    return table(["", "wall, minutes", "processor, minutes"], rows, 1)


def _revisions(content: Mapping[str, Any]) -> str:
    revisions = sorted({run["git"] for run in content["runs"]})
    return f"{len(content['runs'])} runs, trained at revision {', '.join(revisions)}."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Markdown; the first ``left`` columns are text, the others numbers."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * left}{'---:|' * (len(heads) - left)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _cell(values: Values) -> str:
    if not values:
        return "\N{EN DASH}"
    return f"{mean(values):.1f}" + (f" ± {_sd(values):.1f}" if len(values) > 1 else "")


def _sd(values: Values) -> float:
    return stdev(values) if len(values) > 1 else 0.0
