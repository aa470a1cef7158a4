-- PAUSE: what all processes hold back, by an operator. Moves no job.
-- KEYS  places of no partition: 1 the hash of pauses
-- ARGV  1 "pause", 2 field, 3 most pauses
--       1 "resume", 2 field
-- Output 1 changed, 0 it was so before, -1 there are too many
-- Crash before: nothing happened. Crash after, reply lost: sent again it answers
-- 0. The time of a pause is that of the first call.
local key, field = KEYS[1], ARGV[2]
redis.call('HLEN', key)
if ARGV[1] == 'resume' then return redis.call('HDEL', key, field) end
if redis.call('HEXISTS', key, field) == 0 and redis.call('HLEN', key) >= tonumber(ARGV[3]) then return -1 end
local t = redis.call('TIME')
return redis.call('HSETNX', key, field, string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)))
