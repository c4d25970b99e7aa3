"""``codedpo push``: the exported pairs of a run as a dataset on the Hugging Face Hub."""

from pathlib import Path

from codedpo.core.errors import BackendError, ConfigError


def push(run: Path, pairs: Path, repo: str, *, private: bool = True) -> str:
    """Upload the export folder of a run to a dataset repository, which is created where it does not exist.

    Args:
        run: the run folder.
        pairs: the folder of its stage pairs, which another run may have made.
        repo: ``name`` or ``owner/name``; the token is that of ``huggingface-cli login`` or ``HF_TOKEN``.
        private: whether a new repository is private; an existing one stays as it is.

    Returns:
        The address of the dataset.

    Raises:
        ConfigError: the run has no exported pairs, or huggingface_hub is not installed.
        BackendError: the Hub refuses or does not answer.
    """
    export = pairs / "export"
    if not (export / "README.md").exists():
        raise ConfigError(
            f"{run} holds no exported pairs ({export}); run its config up to the stage pairs first."
        )
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise ConfigError(f"push needs huggingface_hub ({error}); pip install 'codedpo[train]'.") from error
    client_errors = HfHubHTTPError.__bases__  # the Hub's client may rest on one HTTP library or another
    api = HfApi(library_name="codedpo")
    try:
        created = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=created.repo_id,
            repo_type="dataset",
            folder_path=export,
            commit_message=f"Preference pairs of {run.name}",
        )
    except HFValidationError as error:
        raise ConfigError(f"{repo!r} is not the name of a repository ({error}); write owner/name.") from error
    except client_errors as error:
        reason = " ".join(str(error).split())
        raise BackendError(
            f"the Hub did not take {export}: {reason}; check HF_TOKEN and the name {repo}."
        ) from error
    return str(created)
