#!lua flags=allow-oom
-- What a worker says of itself, until it says so again.
local name, report, expiry_s = unpack(ARGV)
redis.call('SET', key('worker', name), report, 'EX', expiry_s)
redis.call('SADD', key('workers'), name)
return 'done'
