import json
import re
from dataclasses import replace

import numpy as np
import pytest
import toys

from kernelregime._checks import InputError, RunError
from kernelregime.experiments import place, reproduce
from kernelregime.results import load_reproduction


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def calls(log):
    return lambda: [int(line) for line in log.read_text().split()] if log.exists() else []


def same(one, other):
    assert one.arrays.keys() == other.arrays.keys()
    for name, arrays in one.arrays.items():
        for key, value in arrays.items():
            np.testing.assert_array_equal(value, other.arrays[name][key])


def test_a_result_holds_what_every_cell_gave_and_the_claims_made_of_it(tmp_path, log, calls):
    told = []
    found = reproduce(toys.experiment(log), "smoke", folder=tmp_path / "out", progress=lambda *now: told.append(now))
    assert calls() == [3, 4, 5]
    assert told == [("X1", done, 3) for done in range(4)]
    assert [cell.name for cell in found.cells] == ["n3", "n4", "n5"]
    assert len({cell.seed for cell in found.cells}) == 3
    for cell, claim in zip(found.cells, found.claims, strict=True):
        values = np.random.default_rng(cell.seed).normal(size=cell.params["size"])
        np.testing.assert_array_equal(found.arrays[cell.name]["values"], values)
        assert claim.measured.mean == values.mean()
        assert cell.seconds >= 0
    assert found.environment["packages"]["jax"]


def test_a_stored_result_is_read_back_as_it_was(tmp_path, log):
    found = reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    back = load_reproduction(tmp_path / "smoke" / "X1")
    same(back, found)
    assert back.claims == found.claims
    assert back.cells == found.cells
    assert (back.paper, back.digest, back.version, back.scale, back.figures) == (found.paper, found.digest, 1, "smoke", ())
    assert sorted(path.name for path in (tmp_path / "smoke" / "X1").iterdir()) == ["arrays.npz", "result.json"]


def test_a_finished_result_is_kept_by_resume_and_refused_without(tmp_path, log, calls):
    first = reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    with pytest.raises(InputError, match="a finished result"):
        reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    same(reproduce(toys.experiment(log), "smoke", folder=tmp_path, resume=True), first)
    assert calls() == [3, 4, 5]
    reproduce(toys.experiment(log), "smoke", folder=tmp_path, overwrite=True)
    assert calls() == [3, 4, 5] * 2


@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_interrupted_run_goes_on_and_computes_nothing_twice(tmp_path, log, calls, where):
    def stop(_, done, total):
        if done == where + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(toys.experiment(log), "smoke", folder=tmp_path, progress=stop)
    assert len(place(toys.experiment(log), "smoke", tmp_path).done()) == where + 1
    with pytest.raises(InputError, match=f"{where + 1} cells done; give resume=True"):
        reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    found = reproduce(toys.experiment(log), "smoke", folder=tmp_path, resume=True)
    assert calls() == [3, 4, 5]
    same(found, reproduce(toys.experiment(log), "smoke", folder=tmp_path / "other"))


def test_a_cell_that_fails_is_recorded_tried_again_and_does_not_stop_the_others(tmp_path, log, calls):
    (tmp_path / "bad").touch()
    broken = toys.experiment(log, special={4: {"fails": str(tmp_path / "bad")}})
    with pytest.raises(RunError, match=re.escape("got 1 that failed 2 times, the first of them 'n4' (ValueError: no luck with 4)")):
        reproduce(broken, "smoke", folder=tmp_path / "out")
    assert calls() == [3, 4, 5, 4]
    record = tmp_path / "out" / "smoke" / "X1" / "cells" / "n4.txt"
    assert "no luck with 4" in record.read_text()
    (tmp_path / "bad").unlink()
    found = reproduce(broken, "smoke", folder=tmp_path / "out", resume=True)
    assert calls() == [3, 4, 5, 4, 4]
    assert found.arrays["n4"]["size"] == 4
    assert not record.exists()


def test_processes_give_the_same_and_one_that_is_killed_is_replaced(tmp_path, log, calls):
    deadly = toys.experiment(log, special={4: {"kills": str(tmp_path / "dead")}})
    found = reproduce(deadly, "smoke", folder=tmp_path / "two", engine="processes", workers=2)
    assert sorted(set(calls())) == [3, 4, 5]
    same(found, reproduce(deadly, "smoke", folder=tmp_path / "one"))


def test_results_of_other_settings_are_never_mixed_or_removed_unasked(tmp_path, log):
    reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    for other in (toys.experiment(log, version=2), toys.experiment(log, sizes=(3, 4))):
        with pytest.raises(InputError, match="a result of other settings; give overwrite=True"):
            reproduce(other, "smoke", folder=tmp_path, resume=True)
    assert load_reproduction(tmp_path / "smoke" / "X1").version == 1
    assert reproduce(toys.experiment(log, version=2), "smoke", folder=tmp_path, overwrite=True).version == 2


def test_files_of_others_are_never_touched(tmp_path, log):
    folder = tmp_path / "smoke" / "X1"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.txt.*nothing was written"):
        reproduce(toys.experiment(log), "smoke", folder=tmp_path, overwrite=True)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_a_scale_that_does_not_exist_is_refused(tmp_path, log):
    with pytest.raises(InputError, match=r"scale.*'huge'"):
        reproduce(toys.experiment(log), "huge", folder=tmp_path)


def test_the_digest_tells_settings_apart_and_seeds_depend_on_names_alone(log):
    one, fewer, later = toys.experiment(log), toys.experiment(log, sizes=(4, 5)), toys.experiment(log, version=2)
    assert len({item.digest("smoke") for item in (one, fewer, later)}) == 3
    seeds = {cell.name: cell.seed for cell in one.plan("smoke")}
    assert all(seeds[cell.name] == cell.seed for cell in fewer.plan("smoke"))
    assert one.cost("smoke") == 6.0


def test_what_is_stored_is_json_that_tells_verdicts(tmp_path, log):
    reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    told = json.loads((tmp_path / "smoke" / "X1" / "result.json").read_text())
    assert told["schema"] == "kernelregime.reproduction/1"
    assert [claim["verdict"] for claim in told["claims"]] == [
        claim.verdict for claim in load_reproduction(tmp_path / "smoke" / "X1").claims
    ]


def test_overwrite_with_resume_keeps_what_is_of_these_settings(tmp_path, log, calls):
    def stop(_, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(toys.experiment(log), "smoke", folder=tmp_path, overwrite=True, progress=stop)
    reproduce(toys.experiment(log), "smoke", folder=tmp_path, overwrite=True, resume=True)
    assert calls() == [3, 4, 5]
    assert reproduce(toys.experiment(log, version=2), "smoke", folder=tmp_path, overwrite=True, resume=True).version == 2
    assert calls() == [3, 4, 5] * 2


def test_what_a_killed_run_left_half_written_is_in_no_ones_way(tmp_path, log):
    folder = tmp_path / "smoke" / "X1"
    (folder / "cells").mkdir(parents=True)
    for name in ("plan.json.part", "arrays.npz.part", "result.json.part"):
        (folder / name).write_text("half")
    assert reproduce(toys.experiment(log), "smoke", folder=tmp_path).claims


def test_a_folder_that_is_a_link_is_emptied_where_it_leads(tmp_path, log, calls):
    (tmp_path / "smoke").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "smoke" / "X1").symlink_to(tmp_path / "disk")
    for version in (1, 2):
        reproduce(toys.experiment(log, version=version), "smoke", folder=tmp_path, overwrite=True)
    assert calls() == [3, 4, 5] * 2
    assert load_reproduction(tmp_path / "disk").version == 2


def test_a_finished_result_is_judged_by_the_claims_of_today(tmp_path, log, calls):
    reproduce(toys.experiment(log), "smoke", folder=tmp_path)
    later = replace(toys.experiment(log), claims=lambda measured: toys.claims(measured)[:1], title="Other words")
    found = reproduce(later, "smoke", folder=tmp_path, resume=True)
    assert (len(found.claims), found.title) == (1, "Other words")
    assert load_reproduction(tmp_path / "smoke" / "X1").claims == found.claims
    assert calls() == [3, 4, 5]


def test_a_cell_that_ends_its_process_is_recorded_and_does_not_stop_the_others(tmp_path, log):
    with pytest.raises(RunError, match="got 1 that failed 2 times, the first of them 'n3'"):
        reproduce(toys.experiment(log, special={3: {"dies": True}}), "smoke", folder=tmp_path, engine="processes", workers=2)
    folder = tmp_path / "smoke" / "X1" / "cells"
    assert sorted(path.name for path in folder.iterdir()) == ["n3.txt", "n4.npz", "n5.npz"]
    assert "its process ended" in (folder / "n3.txt").read_text()


def test_a_network_cut_short_in_training_is_not_stored_and_training_goes_on_where_it_was(tmp_path):
    stop = tmp_path / "stop"
    stop.touch()
    row = toys.learning(tmp_path / "log", stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce(row, "smoke", folder=tmp_path / "cut")
    cells = tmp_path / "cut" / "smoke" / "X2" / "cells"
    assert [path.name for path in cells.iterdir()] == ["one.0.checkpoint.npz"]
    stop.unlink()
    found = reproduce(row, "smoke", folder=tmp_path / "cut", resume=True)
    steps = [int(step) for step in (tmp_path / "log").read_text().split()]
    assert steps == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]  # the probe of step 4 had not ended
    same(found, reproduce(row, "smoke", folder=tmp_path / "whole"))
    assert not cells.exists()


def test_a_checkpoint_of_other_code_is_passed_over(tmp_path):
    row = toys.learning(tmp_path / "log", tmp_path / "stop")
    whole = reproduce(row, "smoke", folder=tmp_path / "whole")
    stop = tmp_path / "stop"
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        reproduce(toys.learning(tmp_path / "log", stop, rate=0.2), "smoke", folder=tmp_path)
    stop.unlink()
    left = tmp_path / "smoke" / "X2" / "cells" / "one.0.checkpoint.npz"
    other = tmp_path / "other" / "smoke" / "X2" / "cells"
    other.mkdir(parents=True)
    left.rename(other / left.name)
    (other.parent / "plan.json").write_text(json.dumps(place(row, "smoke", tmp_path / "other").identity))
    same(reproduce(row, "smoke", folder=tmp_path / "other", resume=True), whole)


def test_where_and_on_what_cells_were_computed_is_told(tmp_path, log, monkeypatch):
    def stop(_, done, total):
        if done == 1:
            monkeypatch.setattr("kernelregime.experiments.runner.environment", lambda: {"time": "2999", "packages": {"jax": "9"}})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(toys.experiment(log), "smoke", folder=tmp_path, progress=stop)
    found = reproduce(toys.experiment(log), "smoke", folder=tmp_path, resume=True)
    assert (found.environment["packages"], found.environment["device"]) == ({"jax": "9"}, "cpu")
    (other,) = found.environment["others"]
    assert other["packages"]["numpy"] == np.__version__
    assert found.seconds == pytest.approx(sum(cell.seconds for cell in found.cells))
