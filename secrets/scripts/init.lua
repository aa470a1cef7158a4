-- init: store a new keyring, with empty sets of records, once.
-- KEYS 1 keyring (hash), 2 manifest:secrets (hash), 3 manifest:tokens (hash), 4 audit (stream)
-- ARGV 1 gen, 2 store_id, 3 data, 4 record, 5 kek_check, 6 created (ms),
--      7 seal of manifest 2, 8 seal of manifest 3, 9 audit length, 10.. audit fields
-- Output 1 stored, 0 there was one.
-- Crash: before it nothing is there and init can be run again; after it all is there.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'gen', ARGV[1], 'store_id', ARGV[2], 'data', ARGV[3], 'record', ARGV[4],
  'kek_check', ARGV[5], 'created', ARGV[6])
redis.call('HSET', KEYS[2], 'v', 0, 'seal', ARGV[7])
redis.call('HSET', KEYS[3], 'v', 0, 'seal', ARGV[8])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[9], '*', unpack(ARGV, 10))
return 1
