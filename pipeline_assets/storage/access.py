"""How object stores are reached and as whom: one place for this package, Polars and DuckDB.

Addresses and credentials are those of the stores' own tools. For `s3://` the variables `AWS_ACCESS_KEY_ID` and
`AWS_SECRET_ACCESS_KEY` (and `AWS_SESSION_TOKEN`) come first; then, where boto3 is installed, whatever it finds:
`AWS_PROFILE`, the files in `~/.aws`, single sign-on, the role of a container or machine; and without boto3 such a role
alone. For `gs://` and `az://` the variables `GOOGLE_…` and `AZURE_STORAGE_…` and the roles of machines.
"""

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline_assets.settings import object_store_variables
from pipeline_assets.storage.patience import Patience
from pipeline_assets.storage.store import StoreError
from pipeline_assets.storage_urls import Remote

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Client

# The variables that say where a store is.
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": (),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_EXTRA = "pip install 'pipeline-assets[s3]'"
# Where machines are told their role; asked when nothing else is found.
_ROLES = ("169.254.", "metadata.google", "/token", "credential")
_NONE = {
    "s3": "no credentials are found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    "gs": "no credentials are found. Set GOOGLE_APPLICATION_CREDENTIALS.",
    "az": "no credentials are found. Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.",
}


@dataclass(frozen=True)
class Access:
    """The way to the stores of one scheme, from the environment of this process.

    Attributes:
        scheme: one of `storage_urls.SCHEMES`.
    """

    scheme: str

    def client(self, place: Remote, patience: Patience) -> "Client":
        """A client of a place that waits so long for its answers; it is not asked for anything yet.

        Raises:
            StoreError: the environment names what cannot be used.
        """
        from obstore.store import AzureStore, GCSStore, S3Store

        options: ClientConfig = {
            "connect_timeout": patience.connecting,
            "read_timeout": patience.stalling,
            "timeout": patience.request,
        }
        if self._allows_http:
            options["allow_http"] = True
        retries: RetryConfig = {"max_retries": patience.retries, "retry_timeout": patience.retrying}
        bucket, prefix = place.bucket, place.prefix or None
        try:
            if self.scheme == "gs":
                return GCSStore(bucket, prefix=prefix, client_options=options, retry_config=retries)
            if self.scheme == "az":
                return AzureStore(bucket, prefix=prefix, client_options=options, retry_config=retries)
            return S3Store(
                bucket,
                prefix=prefix,
                client_options=options,
                retry_config=retries,
                credential_provider=self._boto3,
                copy_if_not_exists="multipart",
                **self._s3,
            )
        except StoreError:
            raise
        except Exception as error:
            # The text of an error may hold the value that is wrong.
            raise StoreError(
                f"{place} cannot be used: the variables that say how are not right "
                f"({type(error).__name__}). {_NONE[self.scheme].partition('. ')[2]}"
            ) from None

    def polars_options(self) -> dict[str, Any]:
        """`storage_options` and `credential_provider` of Polars."""
        if self.scheme != "s3":
            # What else there is it finds by the same variables.
            return {"storage_options": {"allow_http": "true"}} if self._allows_http else {}
        options = {f"aws_{key}": value for key, value in self._s3.items()}
        if self._allows_http:
            options["aws_allow_http"] = "true"
        provider = self._boto3
        if provider is None:
            return {"storage_options": options}
        return {"storage_options": options, "credential_provider": _ForPolars(provider)}

    @property
    def endpoint(self) -> str:
        """Where the store is, for messages."""
        return _without_user(self._endpoint) if self._endpoint else f"the usual address of {self.scheme}://"

    @property
    def no_credentials(self) -> str:
        """What to say where there are none."""
        return _NONE[self.scheme]

    @staticmethod
    def is_about_credentials(message: str) -> bool:
        """Whether the library failed while it sought for credentials."""
        return any(part in message.partition("\n")[0] for part in _ROLES)

    @property
    def _endpoint(self) -> str:
        return next(filter(None, map(self._variables.get, _ENDPOINTS[self.scheme])), "")

    @property
    def _allows_http(self) -> bool:
        return self._endpoint.startswith("http://")

    @property
    def _s3(self) -> dict[str, Any]:
        names = {
            "access_key_id": ("AWS_ACCESS_KEY_ID",),
            "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
            "session_token": ("AWS_SESSION_TOKEN",),
            "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        }
        found = {key: next(filter(None, map(self._variables.get, names[key])), None) for key in names}
        if self._boto3 is not None:
            found = {"region": found["region"] or self._boto3.config.get("region")}
        found["endpoint"] = self._endpoint or None
        return {key: value for key, value in found.items() if value}

    @cached_property
    def _boto3(self) -> Any:
        """What boto3 finds, where the variables have no keys; None where it is not needed."""
        if self.scheme != "s3" or self._variables.get("AWS_ACCESS_KEY_ID"):
            return None
        profile = self._variables.get("AWS_PROFILE")
        if importlib.util.find_spec("boto3") is None:
            if profile:
                raise StoreError(
                    f"AWS_PROFILE is set to {profile}, and boto3, which reads profiles, is not installed: {_EXTRA}."
                )
            return None
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider

        try:
            return Boto3CredentialProvider()
        except ValueError:
            raise StoreError(f"s3:// cannot be used: {_NONE['s3']}") from None
        except BotoCoreError as error:
            raise StoreError(f"s3:// cannot be used: {error}. Correct AWS_PROFILE or the files in ~/.aws.") from None

    @cached_property
    def _variables(self) -> dict[str, str]:
        return object_store_variables()


class _ForPolars:
    """What boto3 finds, as Polars asks for it."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def __call__(self) -> tuple[dict[str, str | None], int | None]:
        found = self._provider()
        keys = {
            "aws_access_key_id": found["access_key_id"],
            "aws_secret_access_key": found["secret_access_key"],
            "aws_session_token": found["token"],
        }
        return {key: value for key, value in keys.items() if value}, int(found["expires_at"].timestamp())


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
