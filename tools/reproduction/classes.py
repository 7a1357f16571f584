"""Tables of models of classes: the accuracy of Bayes' rule, and the value of labels in nats."""

from __future__ import annotations

from reproduction import markdown
from reproduction.records import Records, budget, evaluation
from reproduction.representation import probed, probes

CONDITIONAL, PLAIN = "digits_conditional", "digits"
_FEATURES = {"pixels": "the pixels", "means": f"the means of q(z given x) of `{PLAIN}`"}


def accuracy(records: Records) -> str:
    """Lists test accuracies of Bayes' rule, and of linear probes that train on the same labels."""
    what, percent, images = "class by", "accuracy, %", "of test images"
    record, problem = records.run(CONDITIONAL)
    if record is None:
        return markdown.table([what, percent], [{what: "Bayes' rule", percent: problem}])
    found = evaluation(CONDITIONAL, record, "test")
    samples = found["importance_samples"]
    estimates = {"bound": "the bound", "importance": f"the importance estimate of {samples} samples"}
    rows = [
        {what: f"Bayes' rule, p(x given y) by {words}", percent: f"{100 * found[f'accuracy_{estimate}']:.1f}"}
        for estimate, words in estimates.items()
    ]
    for features, words in _FEATURES.items():
        probe = records.committed("probe_pixels_digits") if features == "pixels" else probed(records, PLAIN, PLAIN)[0]
        if probe is not None:
            of_features = probes(probe)[features]
            told = of_features.told(max(of_features.accuracies))
            rows.append({what: f"a linear probe of {words}", percent: told})
    return markdown.table([what, percent, images], [{**row, images: f"{found['num_examples']:,}"} for row in rows])


def likelihoods(records: Records) -> str:
    """Lists likelihoods of the quick start without labels, given the label, and with the label summed out."""
    model, bound, estimate = "model", "bound, nats an image", "importance estimate, nats"
    rows = []
    for name, given, prefix in (
        (PLAIN, "p(x)", "nll_{}_nats"),
        (CONDITIONAL, "p(x), the sum over y of p(x given y) p(y)", "nll_{}_marginal_nats"),
        (CONDITIONAL, "p(x given y), y the label", "nll_{}_nats"),
    ):
        record, problem = records.run(name)
        cells = {model: f"`{name}`: {given}"}
        if record is None:
            rows.append({**cells, bound: problem})
            continue
        found = evaluation(name, record, "test")
        rows.append(
            {
                **cells,
                bound: f"≤ {found[prefix.format('bound')]:.2f}",
                estimate: f"{found[prefix.format('importance')]:.2f}",
                "KL, nats": f"{sum(found['kl_nats']):.1f}",
                "weights": f"{record['summary']['parameters']:,}",
                "training": budget(record),
            }
        )
    return markdown.table([model, bound, estimate, "KL, nats", "weights", "training"], rows)
