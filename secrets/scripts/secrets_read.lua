-- secrets_read: some secrets and the manifest, in one moment. Not MULTI: Redis
-- refuses that, also for reads, when it has reached its maxmemory.
-- KEYS 1 manifest:secrets (hash), 2.. the secrets (hashes)
-- Output {{v, seal}, {body, ct, mac}, ...}; what is not there is nil
-- Crash: it changes nothing.
local out = {redis.call('HMGET', KEYS[1], 'v', 'seal')}
for i = 2, #KEYS do
  out[i] = redis.call('HMGET', KEYS[i], 'body', 'ct', 'mac')
end
return out
