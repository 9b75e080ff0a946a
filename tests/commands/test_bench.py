import json

import pytest

from nas.commands import main


@pytest.mark.slow
def test_a_quick_bench_prints_a_ratio_with_its_interval(capsys, tmp_path):
    out = tmp_path / "record.json"
    words = ["bench", "resnet20", "--quick", "--batch", "4", "--format", "json", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    record = json.loads(printed)
    (net,) = record["nets"]
    low, high = net["ratio_interval"]
    assert 0 < low <= net["ratio"] <= high
    assert net["num_pairs"] >= 7
    assert set(net["without"]) >= {"channels_last", "fused_optimizer"}
    assert 0 < net["data_share"] < 1
    assert 0 < net["peak_share"] < 1
    assert (net["num_params"], net["macs"]) == (272_282, 40_813_184)


def test_a_network_is_on_disk_before_the_next_one_is_timed(monkeypatch, tmp_path):
    out = tmp_path / "record.json"

    def bench_network(name, *_):  # the real one takes long, and does not fail on demand
        if name == "resnet20":
            assert json.loads(out.read_text())["nets"] == [{"name": "final"}]
            raise RuntimeError("the machine is lost")
        return {"name": name}

    monkeypatch.setattr("nas.bench.run.bench_network", bench_network)
    with pytest.raises(RuntimeError, match="the machine is lost"):
        main(["bench", "final", "resnet20", "--quick", "--out", str(out)])
    assert [net["name"] for net in json.loads(out.read_text())["nets"]] == ["final"]


def test_a_record_that_cannot_be_written_is_refused_before_anything_is_timed(capsys, tmp_path):
    out = tmp_path / "absent" / "record.json"
    assert main(["bench", "resnet20", "--quick", "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert not captured.out
    (message,) = captured.err.splitlines()
    assert f"{out} could not be written" in message


@pytest.mark.parametrize("words", [["resnet21"], ["--batch", "1"], ["--device", "tpu"]])
def test_a_wrong_bench_is_refused_with_one_message(capsys, words):
    assert main(["bench", *words]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert len(captured.err.splitlines()) <= 2
