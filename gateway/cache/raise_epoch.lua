#!lua flags=allow-oom
-- Raises one epoch, and returns the epoch in force. Allowed on a full store: a purge has to work there too.
-- KEYS[1] the hash of epochs; ARGV: field, lowest acceptable epoch, 1 to raise it even if it is high enough.
-- The time is the server's, one clock for all replicas; numbers stay below 2^53, exact in Lua.
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') or 0
if ARGV[3] == '0' and held >= tonumber(ARGV[2]) then
  return string.format('%.0f', held)
end
local time = redis.call('TIME')
local epoch = math.max(time[1] * 1000 + math.floor(time[2] / 1000), held + 1, tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', epoch))
return string.format('%.0f', epoch)
