from codedpo.core.records import TrainingStep
from codedpo.report import curves


def test_training_values_find_their_charts():
    steps = [
        TrainingStep(step, 0.1, split, name, value)
        for step in (2, 1)
        for split in ("train", "validation")
        for name, value in (("loss", 0.5), ("logps/chosen", -1.0), ("probe/fast", -2.0), ("grad_norm", 1.0))
    ]
    steps.append(TrainingStep(3, 0.1, "train", "loss", float("nan")))
    main, others = curves.training_panels(steps)
    titles = [panel.title for panel in main]
    assert titles[0] == "Loss"
    assert any(title.startswith("Probe") for title in titles)
    train, validation = main[0].series
    assert [x for x, _ in train.points] == [1.0, 2.0]
    assert (train.dashed, validation.dashed) == (False, True)
    assert [panel.title for panel in others] == ["grad_norm"]
