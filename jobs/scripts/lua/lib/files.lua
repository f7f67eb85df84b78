-- Files that callers have uploaded, and the jobs that need them. A record that is `going` is nobody's any more: its object
-- is being deleted, and then it is.

local FILE_JOB_COMES_S = 3600  -- for how long a job counts that is not there yet: it is noted before it is submitted

local FILE_LOOK_AGAIN_S = 60  -- when an expired file that a job needs is looked at again

local FILE_LOOKS = 200  -- jobs of a file that are looked at in one script: a millisecond of Redis' time

-- A file's record by name; nil where there is none, or it is going.
local function file_record(id)
  local is = by_name(redis.call('HGETALL', key.file(id)))
  return is.caller and not is.going and is or nil
end

-- Whether a job needs a file that it was noted for at this moment: until it has ended.
local function is_to_have_file(job, noted_at)
  local is = look_up(job, {'status', 'ended_at'})
  if not is.status then return now() - tonumber(noted_at) < FILE_JOB_COMES_S end
  return is.status == 'queued' or is.status == 'processing' or not is.ended_at
end

-- Takes those of the first `most` jobs of a file off that have ended. Answers how many stay of these, and how many went.
local function forget_file_jobs(id, most)
  local found, gone = redis.call('ZRANGE', key.file_jobs(id), 0, most - 1, 'WITHSCORES'), 0
  for at = 1, #found, 2 do
    if not is_to_have_file(found[at], found[at + 1]) then
      redis.call('ZREM', key.file_jobs(id), found[at])
      gone = gone + 1
    end
  end
  return #found / 2 - gone, gone
end

-- Whether jobs need a file: 'yes', 'no', or 'ask again' where so many have ended that it takes another look.
local function is_file_needed(id)
  local staying, gone = forget_file_jobs(id, FILE_LOOKS)
  if staying > 0 then return 'yes' end
  return gone == FILE_LOOKS and 'ask again' or 'no'
end

-- Counts so much more of a caller's, or less.
local function count_file(caller, size)
  if redis.call('HINCRBY', key.file_bytes, caller, size) <= 0 then redis.call('HDEL', key.file_bytes, caller) end
end

-- Takes a file off all that lists it. Until its object is gone, the sweep looks for it.
local function let_file_go(id, is, token)
  local hash = is.purpose .. ' ' .. is.sha256
  redis.call('HSET', key.file(id), 'going', token)
  redis.call('ZREM', key.files, id)
  redis.call('ZREM', key.files_of(is.caller), id)
  redis.call('ZREM', key.files_for(is.caller, is.purpose), id)
  if redis.call('HGET', key.file_hashes(is.caller), hash) == id then
    redis.call('HDEL', key.file_hashes(is.caller), hash)
  end
  count_file(is.caller, -tonumber(is.counted))
  redis.call('ZADD', key.file_expiry, seconds(now()), id)
end

-- A file is kept until this moment at least; nil for ever. What it was promised before, stays.
local function renew_file(id, is, expires_at)
  if not is.expires_at or (expires_at and tonumber(expires_at) <= tonumber(is.expires_at)) then return end
  if expires_at then
    redis.call('HSET', key.file(id), 'expires_at', expires_at)
    redis.call('ZADD', key.file_expiry, expires_at, id)
  else
    redis.call('HDEL', key.file(id), 'expires_at')
    redis.call('ZREM', key.file_expiry, id)
  end
end
