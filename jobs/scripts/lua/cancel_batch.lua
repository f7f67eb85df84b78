#!lua flags=allow-oom
-- Let no more jobs into a batch, and cancel as many of those that it has as `most`; the reconciler goes on with the rest.
-- Answers whether there is a rest, and the ids that were released in turn.
-- Repeating it, under the same nonce, gives the same answer.
local batch, record, released = args.batch_id, key.batch(args.batch_id), {}
if redis.call('EXISTS', record) == 0 then return {'missing', released} end
local answered = redis.call('HGET', record, 'cancel_told')
answered = answered and cjson.decode(answered)
if answered and answered.nonce == args.nonce then return {answered.outcome, answered.released} end
redis.call('HSET', record, 'is_closed', 1)
redis.call('ZADD', key.canceling, seconds(now()), batch)
local outcome = cancel_some_of(batch, args.most, released) and 'goes on' or 'done'
redis.call('HSET', record, 'cancel_told', cjson.encode({nonce = args.nonce, outcome = outcome, released = released}))
return {outcome, released}
