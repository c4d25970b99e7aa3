from codedpo.core.rng import seed_for, stream


def test_streams_depend_on_seed_and_names_only() -> None:
    assert (
        seed_for(1, "seeds", 2) == seed_for(1, "seeds", "2") == 5433929409998281603
    )  # stable for ever: runs depend on it
    assert stream(1, "a").integers(1 << 60) == stream(1, "a").integers(1 << 60)
    assert len({seed_for(seed, name) for seed in (0, 1) for name in ("a", "b", "ab")}) == 6
    assert seed_for(1, "a", "b") != seed_for(1, "ab")
