#!lua flags=allow-oom
-- An attempt that lost its job, but is alive and well: it was not the job that ended it.
local id, token = ARGV[1], ARGV[2]
if redis.call('EXISTS', key('job', id)) == 1 then refund(id, token) end
return 'done'
