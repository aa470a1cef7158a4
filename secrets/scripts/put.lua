-- put: write one record of a secret, new or changed, and what is staged beside it.
-- KEYS 1 s:<id> (hash), 2 s:<id>:old (hash), 3 names (zset), 4 manifest:secrets (hash), 5 rev (string), 6 audit (stream),
--      7 changed (zset), 8 s:<id>:staged (hash)
-- ARGV 1 manifest version seen, 2 mac of the record seen ('' if there was none), 3 member of names,
--      4 body, 5 ct, 6 mac, 7 seconds to keep the version before ('0': do not),
--      8 what becomes of the staged version ('keep', 'drop' or 'set'), 9 its body, 10 ct, 11 mac,
--      12 manifest version, 13 manifest seal, 14 rev, 15 audit length, 16.. audit fields
-- Output 1 written, 0 somebody else wrote in between and nothing was changed.
-- The manifest changes with every write of any secret, so comparing its version also
-- proves that the key is still free. The record's mac is compared as well, for a
-- record that was changed in Redis by hand.
-- The audit entry is first: if it cannot be written, Redis ends the script there.
-- Crash: before it nothing is changed; after it all is. OnChange may be missed: the queue sweeps.
if (redis.call('HGET', KEYS[4], 'v') or '') ~= ARGV[1] then
  return 0
end
if (redis.call('HGET', KEYS[1], 'mac') or '') ~= ARGV[2] then
  return 0
end
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[15], '*', unpack(ARGV, 16))
if ARGV[7] ~= '0' then
  local old = redis.call('HMGET', KEYS[1], 'body', 'ct', 'mac')
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'body', old[1], 'ct', old[2], 'mac', old[3])
  redis.call('EXPIRE', KEYS[2], ARGV[7])
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'body', ARGV[4], 'ct', ARGV[5], 'mac', ARGV[6])
if ARGV[8] ~= 'keep' then
  redis.call('DEL', KEYS[8])
end
if ARGV[8] == 'set' then
  redis.call('HSET', KEYS[8], 'body', ARGV[9], 'ct', ARGV[10], 'mac', ARGV[11])
end
redis.call('ZADD', KEYS[3], 0, ARGV[3])
redis.call('HSET', KEYS[4], 'v', ARGV[12], 'seal', ARGV[13])
redis.call('ZADD', KEYS[7], ARGV[12], string.sub(ARGV[3], -24))
redis.call('ZREMRANGEBYRANK', KEYS[7], 0, -4097)
redis.call('SET', KEYS[5], ARGV[14])
return 1
