-- VERSION: tells the queue of a secret's newest version. Moves nothing.
-- KEYS  places
-- ARGV  1 secret, 2 version
-- Output the names of the parked sets, "<secret>:<version>..." of any secret
-- Crash at any point: the caller tells it again, or the sweep does.
-- The version never goes down: two stores may tell theirs in any order.
local was = tonumber(redis.call('HGET', VERSIONS, ARGV[1]) or '0')
if tonumber(ARGV[2]) > was then redis.call('HSET', VERSIONS, ARGV[1], ARGV[2]) end
return redis.call('HKEYS', PARKS)
