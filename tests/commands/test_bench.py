import json

import pytest

from nas.commands import main


def test_a_quick_bench_prints_a_ratio_with_its_interval(capsys):
    assert main(["bench", "resnet20", "--quick", "--batch", "4", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    (net,) = record["nets"]
    low, high = net["ratio_interval"]
    assert 0 < low <= net["ratio"] <= high
    assert net["num_pairs"] >= 7
    assert set(net["without"]) >= {"channels_last", "fused_optimizer"}
    assert 0 < net["data_share"] < 1
    assert 0 < net["peak_share"] < 1
    assert (net["num_params"], net["macs"]) == (272_282, 40_813_184)


@pytest.mark.parametrize("words", [["resnet21"], ["--batch", "1"], ["--device", "tpu"]])
def test_a_wrong_bench_is_refused_with_one_message(capsys, words):
    assert main(["bench", *words]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert len(captured.err.splitlines()) <= 2
