#!lua flags=allow-oom
-- A queued job ends at once; a running one is asked to leave at its next step; an ended one stays as it is.
local id, window, retention = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local status = field(id, 'status')

if not status then return {'missing', '[]'} end
if status == 'queued' then
  local queue, caller = field(id, 'queue'), field(id, 'caller')
  withdraw(id, queue, caller)
  conclude(id, 'canceled', {}, retention)
  return {'canceled', cjson.encode(release(queue, caller, window))}
end
if status == 'processing' then
  redis.call('HSET', key('job', id), 'cancel', 1)
  redis.call('PUBLISH', key('cancel'), id)
end
return {status, '[]'}
