"""Stands in for Ceph's `rbd` command: the words, exit statuses and JSON that `gnt.noded.storage.rbd` uses.

Images are files of the directory IMAGES; what is mapped is a file too.
"""

# A command by itself, started very often: nothing is imported that is not needed.
# ruff: noqa: PTH104, PTH105, PTH108, PTH110, PTH123, T201, PLR0912, PLR0915
# mypy: disable-error-code="type-arg"

from __future__ import annotations

import json
import os
import sys

ROOT = os.environ["IMAGES"]


def fail(number: int, text: str) -> None:
    """End as `rbd` does: with the number of the error."""
    sys.stderr.write(f"rbd: {text}: ({number}) {os.strerror(number)}\n")
    sys.exit(number)


class State:
    """What the cluster and this node know: images by name, and what is mapped."""

    def __init__(self) -> None:
        self.path = f"{ROOT}/.state.json"
        self.images: dict = {}
        self.mapped: list = []
        if os.path.exists(self.path):
            with open(self.path) as file:
                self.images, self.mapped = json.load(file)

    def save(self) -> None:
        """Keep it."""
        with open(f"{self.path}.new", "w") as file:
            json.dump([self.images, self.mapped], file)
        os.replace(f"{self.path}.new", self.path)

    def get(self, name: str) -> dict:
        """Give an image, or end."""
        if name.partition("@")[0] not in self.images:
            fail(2, f"error opening image {name}")
        return self.images[name.partition("@")[0]]


def data(name: str) -> str:
    """Give the file with an image's data."""
    return f"{ROOT}/{name.replace('/', '_')}"


def main() -> None:
    """Carry one command out."""
    options: dict = {}
    words: list = []
    rest = iter(sys.argv[1:])
    for word in rest:
        if word == "-l":
            options[word] = True
        elif word in {"-p", "--size", "--format"}:
            options[word] = next(rest)
        elif word != "--no-progress":
            words.append(word)
    state = State()
    action = words.pop(0)
    if action in {"snap", "image-meta"}:
        action += " " + words.pop(0)
    if "-p" in options and action != "unmap":
        words[0] = f"{options['-p']}/{words[0]}"
    name = words[0] if words else ""
    if (f"{name}/").startswith("nopool/"):
        fail(2, "error opening pool 'nopool'")
    act(state, action, name, words, options)
    state.save()


def act(state: State, action: str, name: str, words: list, options: dict) -> None:
    """Do one thing."""
    if action == "create":
        if name in state.images:
            fail(17, f"create error on {name}")
        state.images[name] = {"size": int(options["--size"]) << 20, "meta": {}, "snaps": {}}
        with open(data(name), "wb") as file:
            file.truncate(state.images[name]["size"])
    elif action == "info":
        print(json.dumps({"name": name, "size": state.get(name)["size"]}))
    elif action == "ls" and "-l" in options:
        rows = []
        for one, image in sorted(state.images.items()):
            if not one.startswith(f"{name}/") or image["meta"].get("damaged"):
                continue
            row = {"image": one.partition("/")[2], "size": image["size"], "format": 2}
            rows += [row, *({**row, "snapshot": snap, "size": 1} for snap in image["snaps"])]
        print(json.dumps(rows))
    elif action == "ls":
        print("\n".join(sorted(one.partition("/")[2] for one in state.images if one.startswith(f"{name}/"))))
    elif action == "rm":
        if state.get(name)["snaps"]:
            fail(39, "image has snapshots")
        if any(row["at"] == name for row in state.mapped):
            fail(16, "image still has watchers")
        del state.images[name]
        os.unlink(data(name))
    elif action == "mv":
        moved = state.get(name)
        if words[1] in state.images:
            fail(17, f"rename error on {words[1]}")
        del state.images[name]
        state.images[words[1]] = moved
        os.rename(data(name), data(words[1]))
    elif action == "resize":
        state.get(name)["size"] = int(options["--size"]) << 20
        os.truncate(data(name), state.images[name]["size"])
    elif action == "image-meta set":
        state.get(name)["meta"][words[1]] = words[2]
    elif action == "image-meta list":
        print(json.dumps(state.get(name)["meta"]))
    elif action == "snap create":
        with open(data(name.partition("@")[0]), "rb") as file, open(data(name), "wb") as copy:
            copy.write(file.read())
        state.get(name)["snaps"][name.partition("@")[2]] = True
    elif action == "snap rm":
        if state.get(name)["snaps"].pop(name.partition("@")[2], None) is None:
            fail(2, f"failed to remove snapshot {name}")
        os.unlink(data(name))
    elif action == "cp":
        state.images[words[1]] = {"size": state.get(name)["size"], "meta": {}, "snaps": {}}
        with open(data(name), "rb") as file, open(data(words[1]), "wb") as copy:
            copy.write(file.read())
    elif action == "map":
        state.get(name)
        pool, image = name.split("/")
        state.mapped.append(
            {"id": str(len(state.mapped)), "pool": pool, "name": image, "device": data(name), "at": name}
        )
        print(data(name))
    elif action == "unmap":
        state.mapped = [row for row in state.mapped if row["device"] != name]
    elif action == "showmapped":
        print(json.dumps(state.mapped))
    else:
        fail(22, f"unknown command {action}")


main()
