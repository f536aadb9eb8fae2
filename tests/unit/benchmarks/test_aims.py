import pytest
from aims import Reading, aim_of, read_name


@pytest.mark.parametrize(
    ("metric", "reading"),
    [
        ("small_channel_messages_per_s", Reading("small channel", "messages/s", "")),
        ("replicas_10_core_us_per_lease", Reading("replicas 10 core", "µs/lease", "")),
        ("end_to_end_s", Reading("end to end", "s", "")),
        ("copy_gigabytes_per_s", Reading("copy", "GB/s", "")),
        ("trl_peak_rss_gib", Reading("trl peak rss", "GiB", "")),
        ("samples_per_s_ratio_to_trl", Reading("samples per s", "×", "TRL's GRPOTrainer")),
    ],
)
def test_a_name_says_what_in_which_unit_and_against_whom(metric: str, reading: Reading):
    assert read_name(metric) == reading


def test_a_name_without_a_unit_is_refused():
    with pytest.raises(ValueError, match="does not end in a unit"):
        read_name("speed")


def test_an_aim_is_a_bound_from_below_or_from_above():
    speed = aim_of("grpo_step", "samples_per_s_ratio_to_trl")
    memory = aim_of("grpo_step", "all_processes_peak_pss_ratio_to_trl")

    assert speed is not None
    assert (speed.is_met(2.0), speed.is_met(1.9), str(speed)) == (True, False, "≥ 2")
    assert memory is not None
    assert (memory.is_met(0.5), memory.is_met(0.6), str(memory)) == (True, False, "≤ 0.5")


def test_most_metrics_have_no_aim():
    assert aim_of("wire", "small_channel_messages_per_s") is None
