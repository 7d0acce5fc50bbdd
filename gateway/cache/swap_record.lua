#!lua
-- Replaces a record only if it is still the one that was read, known by its nonce, so that no replica's update is lost.
-- KEYS[1] the record; ARGV: nonce that was read (empty: there was none), sealed record, lifetime in ms, nonce's last index.
-- Returns 1 if it was replaced. A value of a foreign type counts as none.
local held = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[4])
if type(held) == 'string' and held ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
