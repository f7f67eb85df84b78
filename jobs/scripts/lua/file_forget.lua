#!lua flags=allow-oom
-- There is no object of a file any more, nor of an upload that has come to nothing: nothing stays that knows of it.
local id = args.id
local is = file_record(id)
if is then let_file_go(id, is, '') end
redis.call('UNLINK', key.file(id), key.file_jobs(id))
redis.call('ZREM', key.file_expiry, id)
redis.call('ZREM', key.files_begun, id)
return 'done'
