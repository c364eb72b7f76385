import numpy as np

from harp.data.arrays import save_array


def test_two_processes_that_make_the_same_array_do_not_write_into_one_file(tmp_path, monkeypatch):
    path, numpy_save = tmp_path / "made" / "array.npy", np.save
    unfinished = []

    def interrupted(file, array, **settings):
        numpy_save(file, array, **settings)
        if not unfinished:  # another process comes and finishes while this one writes
            unfinished.append(file)
            save_array(path, array + 1)

    monkeypatch.setattr(np, "save", interrupted)
    save_array(path, np.zeros(3))
    assert np.load(path).tolist() == [0, 0, 0]
    assert [file.name for file in path.parent.iterdir()] == ["array.npy"]
