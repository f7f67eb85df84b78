#!lua flags=allow-oom
-- Begins or goes on to load a model, unless another worker does. A Redis that is full may be so of the model's jobs.
local holder = redis.call('GET', key.loading(args.model))
if holder and holder ~= args.owner then return 'held' end
redis.call('SET', key.loading(args.model), args.owner, 'EX', args.expiry_s)
return 'taken'
