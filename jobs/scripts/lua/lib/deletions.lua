-- What a deleted job has left, and where: the work list of `jobs.deletions`.

-- Notes what to look for, from this moment on. `keys` of its objects, and `inputs`, are lists as JSON.
local function note_deletion(id, is, keys, inputs)
  redis.call('HSET', key.deletion_notes, id, cjson.encode({
    created_at = is.created_at, queue = is.queue, keys = keys or '[]', inputs = inputs or '[]', since = seconds(now()),
  }))
end

-- Has a deleted job looked for again, at once: something of it may have come since. Nothing of any other.
local function look_again(id)
  local is = look_up(id, {'deletion', 'created_at', 'queue'})
  if redis.call('HEXISTS', key.deletion_notes, id) == 0 then
    if not is.deletion then return end
    note_deletion(id, is)
  end
  redis.call('ZADD', key.deletions, seconds(now()), id)
end
