#!lua flags=allow-oom
-- A queued job ends at once; a running one is asked to leave at its next step; an ended one stays as it is.
-- With `remember_s` one that is not there yet, because its message has not become a job, is canceled when it comes.
-- With `scope` that caller's jobs alone are there, and what it cancels before it comes is its own alone.
-- Repeating it gives the same answer, the ids released in turn included. With `is_shown` the record stands behind it.
local TOMBSTONES_MAX = 1000  -- of a caller: a caller must not fill Redis with invented ids

local id = args.job_id
local status = field(id, 'status')
if status and args.scope and field(id, 'caller') ~= args.scope then status = nil end

local function answer(now_is, released)
  return {now_is, released, args.is_shown and redis.call('HGETALL', key.job(id)) or {}}
end

local function remember()
  if not args.scope then
    redis.call('SET', key.tombstone(id), 1, 'EX', args.remember_s)
    return
  end
  local list = key.tombstones(args.scope)
  redis.call('ZADD', list, seconds(now() + args.remember_s), id)
  redis.call('ZREMRANGEBYRANK', list, 0, -TOMBSTONES_MAX - 1)
  redis.call('EXPIRE', list, args.remember_s)
end

if not status then
  if args.remember_s then remember() end
  return {'missing', '[]', {}}
end
if status == 'queued' then
  return answer('canceled', as_list(cancel_queued(id)))
end
if status == 'canceled' and not field(id, 'token') then return answer(status, field(id, 'next') or '[]') end
if status == 'processing' then ask_to_leave(id) end
return answer(status, '[]')
