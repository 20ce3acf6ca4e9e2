"""Upload an export to a model hub."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from segstudy.errors import SegstudyError, StoreError
from segstudy.exporting import PROOF
from segstudy.files import file_sha256, read_json
from segstudy.networks.foreign import need, reason

ADVICE = {
    401: "log in first with: hf auth login, and a token that may write",
    403: "your token may not write there; log in with another one: hf auth login",
    404: "there is no such user or organisation, or you may not see it",
}


def push(folder: Path, repo: str, private: bool = False, endpoint: str | None = None) -> str:
    """Upload a folder that ``segstudy export`` wrote, after its files were compared with their sums.

    Parameters
    ----------
    folder
        The export.
    repo
        ``USER/NAME`` on the hub; made if it does not exist.
    private
        Whether a repository that is made is private.
    endpoint
        Address of the hub; by default that of ``huggingface_hub`` (environment variable ``HF_ENDPOINT``).

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    StoreError
        If the folder is no export, or its files changed.
    SegstudyError
        If the hub refuses it or cannot be reached.

    """
    _check(folder)
    hub = need("huggingface_hub", "huggingface_hub", "hub")
    api = hub.HfApi(endpoint=endpoint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the client's own ways with its libraries
            api.create_repo(repo, private=private, exist_ok=True)
            done: Any = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload with segstudy")
    except Exception as error:  # the hub's client raises a dozen kinds
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = ADVICE.get(int(status)) if status else None
        if isinstance(error, hub.errors.OfflineModeIsEnabled):
            advice = "HF_HUB_OFFLINE is set, which forbids it; unset it"
        words = advice or "nothing else was changed; the same command tries again"
        cause = f": {reason(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
        raise SegstudyError(f"{repo}: cannot be uploaded ({reason(error).rstrip('.')}{cause}); {words}") from None
    return str(done.commit_url)


def _check(folder: Path) -> None:
    """Refuse what is no export, or an export whose network changed since it was proven; its card may be edited."""
    if not (folder / PROOF).is_file() or not (folder / "README.md").is_file():
        raise StoreError(f"{folder}: is not an export of segstudy; write one with: segstudy export RUN --to hub-folder")
    sums = read_json(folder / PROOF).get("files", {})
    wrong = [
        name for name, digest in sums.items() if not (folder / name).is_file() or file_sha256(folder / name) != digest
    ]
    if wrong or not sums:
        raise StoreError(
            f"{folder}: {', '.join(wrong) or 'nothing'} is not what was proven; delete the folder and export again"
        )
