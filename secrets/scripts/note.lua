-- note: write audit entries that hold only at a revision of the store.
-- KEYS 1 rev (string), 2 audit (stream)
-- ARGV 1 about how many entries the stream keeps, then for each entry:
--      how it is bound ('0': to nothing, '1': to the revision), the revision, how
--      often it is written, how many arguments follow, and those, names and
--      values by turns; at most 128 are written in one call
-- Output the revision, '' if nothing was ever written. An entry that is bound to
-- another revision is left out.
-- Crash: before it nothing is written; after it all is, and sent again all is twice.
local rev = redis.call('GET', KEYS[1]) or ''
local i = 2
while i <= #ARGV do
  local n = tonumber(ARGV[i + 3])
  if ARGV[i] == '0' or ARGV[i + 1] == rev then
    for _ = 1, tonumber(ARGV[i + 2]) do
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, i + 4, i + 3 + n))
    end
  end
  i = i + 4 + n
end
return rev
