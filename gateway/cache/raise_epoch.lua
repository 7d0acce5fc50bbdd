#!lua flags=allow-oom
-- Raises one epoch, and returns the epoch in force. Allowed on a full store: a purge has to work there too.
-- KEYS[1] the hash of epochs; ARGV: field, lowest acceptable epoch, 1 to raise it even if it is high enough.
-- The time is the server's, one clock for all replicas; numbers stay below 2^53, exact in Lua.
-- An epoch is the time in ms at which it was raised, or slightly more. So a value that is no such number, or is more than
-- a day ahead, is not trusted: it was put there by somebody else, or while this server's clock was wrong. The hash is
-- then written again with a new epoch for everything. Counting on from such a value would pass the end of the range.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = now + 86400000
local function epoch_of(text)
  local number = #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
  return number and number > 0 and number <= latest and number
end

local held = {}
local fields = redis.pcall('HGETALL', KEYS[1])
local spoiled = fields.err ~= nil
for i = 1, #fields, 2 do
  held[fields[i]] = epoch_of(fields[i + 1])
  spoiled = spoiled or not held[fields[i]]
end

local lowest = epoch_of(ARGV[2]) or 0
local mine = held[ARGV[1]] or 0
if ARGV[3] == '0' and mine > 0 and mine >= lowest and not spoiled then
  return string.format('%.0f', mine)
end
local epoch = math.max(now, mine + 1, lowest)
if spoiled then
  epoch = math.max(epoch, (held['all'] or 0) + 1)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'all', string.format('%.0f', epoch))
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', epoch))
return string.format('%.0f', epoch)
