import json
import subprocess
import sys

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.results import Diagnosis, Evidence, Verdict, created, environment, folder_for, read, save_arrays, staged, write


@pytest.fixture
def diagnosis():
    evidence = (Evidence("drift", "drift", "change", Estimate(0.1, 0.01, 5)),)
    arrays = {"drift": np.linspace(0, 1, 4).reshape(2, 2), "steps": np.arange(2), "single": np.float32([1.5])}
    return Diagnosis(Verdict("inconclusive", "trainable"), evidence, {"dtype": "float32"}, {"drift": 0.1}, arrays)


def test_what_is_written_is_read_back(tmp_path, diagnosis):
    folder = write(diagnosis, tmp_path / "new" / "folder")
    again = read(folder)
    assert again.to_json() == diagnosis.to_json()
    for name, value in diagnosis.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], value)
        assert again.arrays[name].dtype == value.dtype


def test_files_are_written_whole_or_not_at_all(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "result.json"]
    before = (tmp_path / "result.json").read_text()
    broken = Diagnosis(diagnosis.verdict, (), {"x": object()}, {}, {})
    with pytest.raises(TypeError):
        write(broken, tmp_path, overwrite=True)
    assert (tmp_path / "result.json").read_text() == before


def test_a_folder_without_a_result_is_refused(tmp_path, diagnosis):
    with pytest.raises(InputError, match=r"expected a folder with result\.json and arrays\.npz"):
        read(tmp_path)
    write(diagnosis, tmp_path)
    (tmp_path / "arrays.npz").unlink()
    with pytest.raises(InputError, match="name the folder of a finished diagnosis"):
        read(tmp_path)


def test_a_result_of_another_schema_is_refused(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    file = tmp_path / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": "kernelregime.diagnosis/99"}))
    with pytest.raises(InputError, match="expected a result with schema"):
        read(tmp_path)


def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(
        InputError, match=r"expected an output folder that is new or empty; got .* with 'thesis\.tex' in it, .*nothing was written"
    ):
        folder_for(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_finished_result_is_overwritten_only_when_asked(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    for again in (
        lambda: folder_for(tmp_path),
        lambda: write(Diagnosis(Verdict("inconclusive", "inconclusive"), (), {}, {}, {}), tmp_path),
    ):
        with pytest.raises(InputError, match=r"got .* with result\.json of a finished result; .*overwrite=True; nothing was written"):
            again()
    assert (tmp_path / "result.json").read_bytes() == before
    assert folder_for(tmp_path, overwrite=True) == tmp_path
    assert write(diagnosis, tmp_path, overwrite=True) == tmp_path


@pytest.mark.parametrize("name", ["result.json", "arrays.npz", "report.html", "checkpoint.npz", "thesis.tex"])
@pytest.mark.parametrize("kind", ["text", "json", "archive", "folder"])
def test_a_users_own_file_is_never_touched_whatever_its_name(tmp_path, diagnosis, name, kind):
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, head=np.asarray("{}"))
    else:
        path.write_text("mine" if kind == "text" else '{"schema": "mine/1"}')
    before = None if kind == "folder" else path.read_bytes()
    with pytest.raises(InputError, match=f"with {name!r} in it, which is no file of an earlier result"):
        folder_for(tmp_path, overwrite=True)
    with pytest.raises(InputError, match="nothing was written"):
        write(diagnosis, tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert kind == "folder" or path.read_bytes() == before


def test_a_users_file_beside_a_result_keeps_the_result_from_being_replaced(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    (tmp_path / "report.html").write_text("<p>my notes</p>")
    with pytest.raises(InputError, match=r"report\.html"):
        write(diagnosis, tmp_path, overwrite=True)
    assert (tmp_path / "report.html").read_text() == "<p>my notes</p>"


def test_a_part_of_an_earlier_result_is_replaced_only_when_asked(tmp_path, diagnosis):
    write(diagnosis, tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(InputError, match=r"'arrays\.npz' of an earlier result; .*overwrite=True"):
        write(diagnosis, tmp_path)
    assert write(diagnosis, tmp_path, overwrite=True) == tmp_path


def test_a_new_folder_is_free_and_not_created_before_there_is_something_to_write(tmp_path):
    folder = folder_for(tmp_path / "a" / "b")
    assert not folder.exists()
    with created(folder):
        assert folder.is_dir()
    assert folder.is_dir()


def _half(path):
    path.write_text("half")
    raise FileNotFoundError


def test_folders_made_in_vain_go_again_and_others_stay(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt), created(tmp_path / "there" / "a" / "b"):
        raise KeyboardInterrupt
    assert not (tmp_path / "there" / "a").exists()
    with pytest.raises(ZeroDivisionError), created(tmp_path / "there"):
        raise ZeroDivisionError
    assert (tmp_path / "there").is_dir()
    with pytest.raises(FileNotFoundError), created(tmp_path / "c"):
        _half(tmp_path / "c" / "checkpoint.npz")
    assert (tmp_path / "c" / "checkpoint.npz").exists()


def test_a_file_that_could_not_be_written_leaves_the_old_one_and_no_part(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), staged(path) as part:
        _half(part)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match=r"expected an output folder; got .*, which is a file"):
        folder_for(file, overwrite=True)
    with pytest.raises(InputError, match="expected a folder that can be created"), created(file / "below"):
        pass
    assert file.read_text() == "x"


def test_other_results_may_name_their_own_files(tmp_path):
    save_arrays(tmp_path / "kernel.npz", {"a": np.ones(2)}, schema="kernelregime.kernels/1")
    (tmp_path / "kernel.npz.part").write_bytes(b"")
    assert folder_for(tmp_path, files=("kernel.npz",), finished="kernel.npz", overwrite=True) == tmp_path
    with pytest.raises(InputError, match=r"'kernel\.npz' in it"):
        folder_for(tmp_path, overwrite=True)


def test_an_unfinished_run_may_go_on_in_its_folder(tmp_path):
    head = json.dumps({"schema": "kernelregime.training/1"})
    np.savez(tmp_path / "checkpoint.npz", head=np.asarray(head), losses=np.ones(3))
    (tmp_path / "checkpoint.npz.part").write_bytes(b"")
    assert folder_for(tmp_path) == tmp_path


def test_the_environment_is_recorded_without_names_of_hosts_or_users():
    found = environment()
    assert set(found) == {"python", "platform", "cores", "time", "packages"}
    assert found["packages"]["numpy"] == np.__version__
    assert found["time"].endswith("+00:00")
    json.dumps(found)


def test_results_are_read_without_jax():
    code = "import sys, kernelregime.results, kernelregime.claims; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
