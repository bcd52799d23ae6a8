"""Every limit on what strangers may send (I10), in bytes, counts or seconds. Settings may change each."""

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    disk_reserve_bytes: int = 64 * MIB  # of the data directory's disk: while less is free, nothing large is taken
    # git
    object_bytes: int = 64 * MIB  # one git object inflated, and one delta's result; larger files belong in LFS
    pack_bytes: int = 2 * GIB  # a pushed pack on the wire
    pack_inflated_bytes: int = 8 * GIB
    pack_objects: int = 2_000_000
    apart_pack_objects: int = 10_000  # a pushed pack from which on it is checked in a process of its own
    delta_depth: int = 4095
    path_bytes: int = 1024
    ref_commands: int = 100_000  # of one push; 2000 on LakeFS, where each branch is a few calls
    ref_name_bytes: int = 250
    command_bytes: int = 36 * MIB  # ref_commands of the longest names fit
    changed_paths: int = 500_000  # of one update of a branch on LakeFS, where each path is a call
    fetch_request_bytes: int = 16 * MIB
    haves: int = 100_000
    wants: int = 100_000
    prepared_objects: int = 2000  # of a repository whose clones are made ahead and kept; of a pack whose reachability is
    small_pack_bytes: int = 32 * MIB  # a pack over one of these two is not merged with others
    small_pack_objects: int = 32_768
    bundle_repository_bytes: int = 32 * MIB  # a repository whose packs come to less has no bundle made ahead
    bundle_seconds: int = 600  # between two tries to make one
    whole_pack_bytes: int = 2 * GIB  # a larger pack is never copied again; its objects go when nothing leads to any of them
    whole_beside_objects: int = 4096  # so many objects beside the largest pack, or so many bytes, and a quarter of it, are worth
    whole_beside_bytes: int = 64 * MIB  # a whole repack
    delta_object_bytes: int = 2 * MIB  # a repack looks for deltas between objects up to this
    delta_repack_bytes: int = GIB  # and looks at so much in one run
    unreachable_seconds: int = 14 * 86400  # objects that nothing leads to are kept for so long
    repack_seconds: int = 2 * 3600  # one whole repack
    history_commit_paths: int = 65_536  # a commit that changed more paths is compared each time, not indexed
    history_file_changes: int = 4_000_000  # of one file of the changed-path index; some 150 MB while it is made
    history_build_seconds: int = 900  # one run that makes such files; the next goes on where it stopped
    history_walk_commits: int = 2000  # that one answer compares because the index does not have them yet
    history_seconds: int = 30  # one answer about paths, with the wait for the index
    # LFS
    lfs_object_bytes: int = 1 << 44
    lfs_batch_objects: int = 1000
    lfs_batch_bytes: int = 4 * MIB  # also of the list of parts that completes a multipart upload
    lfs_multipart_bytes: int = GIB  # larger objects come in parts, from clients that can
    lfs_part_bytes: int = 256 * MIB  # grows where an answer would have more than lfs_parts
    lfs_parts: int = 10_000
    lfs_locks: int = 10_000  # locked files of one repository
    lfs_direct_bytes: int = 16 * MIB  # larger objects are sent to S3 without the hub, where it has a public endpoint
    # Xet
    xet_chunk_bytes: int = 128 * 1024  # a raw chunk, as clients cut files
    xet_xorb_bytes: int = 64 * MIB + 512 * 1024  # on the wire: clients count raw bytes up to 64 MiB, headers and an old trailer come on top
    xet_xorb_chunks: int = 8192
    xet_shard_bytes: int = 72 * MIB
    xet_shard_files: int = 100_000
    xet_shard_terms: int = 400_000
    xet_shard_chunks: int = 8 << 20  # named by all terms together: 512 GiB of chunks of the usual size
    xet_staged_seconds: int = 28 * 86400  # clients remember for three weeks, and another as reserve, what they have sent
    # commits through the API
    commit_bytes: int = 2 * GIB
    commit_line_bytes: int = 16 * MIB
    commit_operations: int = 25_000
    commit_message_bytes: int = 64 * 1024
    commit_tries: int = 16  # against commits of other workers to the same branch
    preupload_files: int = 1000
    preupload_bytes: int = 8 * MIB
    regular_bytes: int = 10 * MIB  # larger files go to large storage, whatever .gitattributes says
    regular_binary_bytes: int = MIB
    attributes_bytes: int = 256 * 1024  # of one .gitattributes or .gitignore that is looked at
    attributes_rules: int = 2000
    tracked_paths: int = 10_000  # new files of a push that are held against .gitattributes
    attributes_steps: int = 50_000_000  # names that are held against parts of patterns for one request
    # cards
    card_bytes: int = 4 * MIB  # the front matter of a README
    card_expanded_bytes: int = 16 * MIB  # what it comes to when aliases are written out
    card_depth: int = 100
    readme_bytes: int = 32 * MIB  # a README as JSON, sent to be checked
    # JSON and forms
    json_bytes: int = MIB
    create_bytes: int = 8 * MIB  # a new repository with its first files
    create_files: int = 100
    search_words: int = 10
    paths_info: int = 1000
    page: int = 1000
    listed_files: int = 2_000_000  # of one answer without pages; more are refused before it begins
    # SSH, of one worker
    ssh_connections: int = 512
    ssh_user_connections: int = 64
    ssh_waiting: int = 256  # by which nobody has signed in yet; the oldest makes room
    ssh_address_waiting: int = 64  # of them from one address, behind which many may sit
    ssh_sessions: int = 64  # each has a thread
    ssh_user_sessions: int = 24
    ssh_connection_sessions: int = 10
    ssh_keys_tried: int = 20
    ssh_keys: int = 100  # of one account
    ssh_command_bytes: int = 4096
    # HTTP
    address_connections: int = 1024  # of one worker to one address; loopback and a trusted proxy have none of these limits
    header_seconds: int = 10  # from the first byte of a request to the end of its headers
    idle_seconds: int = 75  # of a connection between two requests; longer than a proxy in front keeps its own
    body_rate_bytes: int = 1024  # a second, at least, over any body_rate_seconds
    body_rate_seconds: int = 30
    # time
    ssh_login_seconds: int = 30
    ssh_idle_seconds: int = 600  # without a byte, or without a session
    ssh_session_seconds: int = 86400
    ssh_token_seconds: int = 900  # of what git-lfs-authenticate hands out
    database_seconds: int = 30  # one statement on PostgreSQL, and the wait for a connection of our own
    database_connect_seconds: int = 5
    action_seconds: int = 3600  # life of an LFS action URL
    session_seconds: int = 30 * 86400
    multipart_seconds: int = 86400  # life of the URLs of a multipart upload
    body_seconds: int = 3600  # a whole upload
    check_seconds: int = 3600  # of a pushed pack, in a process of its own
    answer_seconds: int = 600  # without a byte from the process that makes a pack for clients
    stop_seconds: int = 60  # running transfers may finish for so long after SIGTERM
    s3_connect_seconds: int = 3
    s3_read_seconds: int = 20  # without a byte; a call is tried three times
    lakefs_connect_seconds: int = 3
    lakefs_read_seconds: int = 30  # without a byte; questions are asked three times
    lakefs_commit_seconds: int = 600  # a commit or merge of very many paths
    lakefs_look_seconds: int = 2  # a reader waits so long at most for what was committed directly in LakeFS
    ref_wait_seconds: int = 60  # for another update of the same ref
    # jobs
    job_lease_seconds: int = 60  # a job whose worker died is taken up by another one after that
    job_tries: int = 5
    job_back_off_seconds: int = 30  # before the second try; twice as long before each further one
    # imports and mirrors
    outbound_connect_seconds: int = 10
    outbound_read_seconds: int = 60  # without a byte
    outbound_redirects: int = 3
    import_seconds: int = 12 * 3600  # one run
    import_refs: int = 10_000
    import_refs_bytes: int = 64 * MIB  # the list of them on the wire, with those that are not taken
    import_haves: int = 512  # commits that the source is told of
    import_lfs_bytes: int = 1 << 42  # fetched in one run
    import_lfs_at_once: int = 4
    mirror_seconds: int = 600  # shortest time between two looks at the source
    # guesses of passwords and tokens
    guesses_account: int = 10
    guesses_address: int = 100
    guess_window_seconds: int = 900
