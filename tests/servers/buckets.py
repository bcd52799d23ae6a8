"""Empty buckets, lent to one test after another: making one takes half a second, and opening one a tenth."""

from storage.blobs.bucket import Bucket
from tests.servers.s3 import S3Server


class BucketPool:
    def __init__(self) -> None:
        self._free: dict[S3Server, list[Bucket]] = {}
        self._lent: dict[Bucket, S3Server] = {}

    def lend(self, server: S3Server) -> Bucket:
        free = self._free.setdefault(server, [])
        bucket = free.pop() if free else Bucket(server.config(server.make_bucket()))
        self._lent[bucket] = server
        return bucket

    def give_back(self, bucket: Bucket) -> None:
        server = self._lent.pop(bucket)
        _empty(server, bucket.config.bucket)
        self._free[server].append(bucket)

    def close(self) -> None:
        for free in self._free.values():
            for bucket in free:
                bucket.close()


def _empty(server: S3Server, name: str) -> None:
    client = server.client()
    for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", ()):
        client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    while keys := [{"Key": row["Key"]} for row in client.list_objects_v2(Bucket=name).get("Contents", ())]:
        client.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
