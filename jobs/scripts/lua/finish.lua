#!lua flags=allow-oom
-- processing → succeeded, failed, canceled or expired, by the attempt that owns the job. First commit wins.
-- Repeating it, under the same token, gives the same answer: the record.
local id, status, error = args.job_id, args.status, args.error

if field(id, 'token') ~= args.token then return {'fenced'} end
local current = field(id, 'status')
if current == status then return {'done', redis.call('HGETALL', key.job(id))} end
if current ~= 'processing' then return {'fenced'} end
local queue = field(id, 'queue')
redis.call('ZREM', key.running(queue), id)
if error == '' and status == 'expired' then error = expire_error('deadline') end
local fields = {'images', args.artifacts, 'timings', args.timings, 'error', error}
local function note(name, value)
  fields[#fields + 1], fields[#fields + 2] = name, value
end
if args.data then note('data', args.data) end
conclude(id, status, fields, args.error_code)
note_pace(queue)
return {'done', redis.call('HGETALL', key.job(id))}
