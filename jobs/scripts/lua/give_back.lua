#!lua flags=allow-oom
-- processing → queued, uncharged, by the attempt that owns the job and will not go on with it; canceled, if that was
-- asked for in the meantime.
-- Repeating it, under the same token, gives the same answer.
local id, token = args.job_id, args.token
local job = key.job(id)

if field(id, 'given_back') == token then return {'given_back', field(id, 'next')} end
if field(id, 'status') ~= 'processing' or field(id, 'token') ~= token then
  look_again(id)  -- Where the result is deleted, this attempt may have stored something since.
  return {'fenced', '[]'}
end
refund(id, token)
redis.call('HINCRBY', job, 'deliveries', -1)
redis.call('HSET', job, 'given_back', token, 'next', '[]')
local queue = field(id, 'queue')
if field(id, 'cancel') then
  redis.call('ZREM', key.running(queue), id)
  redis.call('HDEL', job, 'token', 'owner')
  conclude(id, 'canceled', {})
  return {'given_back', '[]'}
end
take_back(id)
local released = as_list(release(queue, field(id, 'caller')))
redis.call('HSET', job, 'next', released)
return {'given_back', released}
