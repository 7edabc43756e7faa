/* A library with the shapes that the site planner tells apart: several returns, a tail call, a jump
 * table, a call through the PLT. `cargo xtask fuzz` compiles it for the corpus. */
extern long elsewhere(long value);

__attribute__((visibility("default"))) long two_returns(long value)
{
    if (value > 3)
        return value * 7;
    return elsewhere(value) + 1;
}

__attribute__((visibility("default"))) long tail(long value)
{
    return elsewhere(value + 1);
}

__attribute__((visibility("default"))) long table(long value)
{
    switch (value) {
    case 0: return elsewhere(11);
    case 1: return elsewhere(3) * 5;
    case 2: return value + elsewhere(value);
    case 3: return 17;
    case 4: return elsewhere(19) - value;
    case 5: return 2 - elsewhere(23);
    default: return -1;
    }
}
