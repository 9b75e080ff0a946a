"""More blocks in a stage against one more stage, at equal parameters.

At the paper's size the final network with its four stages stands against five.

    python cli.py study blocks_or_stages --scale tiny

Expected time: about 2 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, blocks above stages: cannot tell, -0.3 points [-4.1, +3.5].
"""

from nas.paper.study import FINAL, Arm, Claim, Comparison, net

STAGES = (
    "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,12,256,0.1],[Bottleneck,3,512,0.1],"
    "[Bottleneck,1,1024,0.1]]"
)
BLOCKS_THIN = "[[Basic,1,16,0.1],[Basic,1,32,0.1],[Bottleneck,6,64,0.1],[Bottleneck,3,128,0.1]]"
STAGES_THIN = (
    "[[Basic,1,16,0.1],[Basic,1,32,0.1],[Bottleneck,2,64,0.1],[Bottleneck,3,96,0.1],"
    "[Bottleneck,1,160,0.1]]"
)

STUDY = Comparison(
    section="Network Depth and Number of Channels",
    arms=(
        Arm("blocks", FINAL, net(BLOCKS_THIN)),
        Arm("stages", net(STAGES), net(STAGES_THIN)),
    ),
    claims=(
        Claim(
            "depth should be achieved not through adding residual layers, but through adding more "
            "residual blocks per residual layer",
            "blocks",
            "stages",
        ),
    ),
    differs=("depths", "widths"),
    params_tolerance=0.02,
)
