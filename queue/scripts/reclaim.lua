-- RECLAIM: a lost lease -> ours, or -> dead letter after too many losses.
-- KEYS  places
-- ARGV  1 consumer, 2 lease ms, 3 most entries, 4 cursor, 5 losses allowed
-- Output {next cursor, {{entry id, deliveries, meta or '', job or '', mark or '', cancelled 0 or 1}, ...},
--        {buried jid, ...}}
-- Crash before: still pending under the old holder. Crash after, reply lost:
-- pending under a holder that does not know of it; idle again, a later call
-- takes it. The count and the burial are one script, so they cannot race.
check()
local r = redis.call('XAUTOCLAIM', JOBS, GROUP, ARGV[1], ARGV[2], ARGV[4], 'COUNT', ARGV[3])
local out, buried = {}, {}
for _, e in ipairs(r[2]) do
  local p = e and own(ARGV[1], e[1])
  if p and e[2] then
    local field = {meta = '', job = ''}
    for i = 1, #e[2], 2 do field[e[2][i]] = e[2][i + 1] end
    local meta = {j = e[1], n = 1}
    if field.meta ~= '' then
      local good, m = pcall(cjson.decode, field.meta)
      if good and type(m) == 'table' and m.j then meta = m end
    end
    local crashes = (tonumber(meta.c) or 0) + p[4] - 1
    if crashes >= tonumber(ARGV[5]) then
      meta.c, meta.r, meta.o, meta.l = crashes, 'poison', nil, nil
      meta.x = 'its worker died or lost it ' .. string.format('%.0f', crashes) .. ' times'
      if not meta.e then meta.e = tonumber(string.match(meta.j, '^(%d+)')) end
      redis.call('HSET', BODY, meta.j, cjson.encode(meta) .. '\n' .. field.job)
      redis.call('ZADD', DEAD, now(), meta.j)
      drop(e[1])
      forget(meta.j)
      buried[#buried + 1] = meta.j
    else
      local mark = redis.call('HGET', MARK, meta.j) or ''
      out[#out + 1] = {e[1], p[4], field.meta, field.job, mark, redis.call('HEXISTS', CANCEL, meta.j)}
    end
  end
end
return {r[1], out, buried}
