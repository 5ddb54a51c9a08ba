"""The ImageNet host: ResNet-50 v1b (He et al., 2016, with the stride on the 3x3 convolution)
whose first two activations of each bottleneck can be ATAC (the paper's table II), and whose 3x3
convolutions can be or can have self-attention (the rows AA and FA of that table).
"""
from functools import partial

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.arguments import BLOCKS, CHANNELS, CLASSES, check_counts, check_number, check_whole
from openatac.models.placement import place
from openatac.nn.activations import check_activation, make_activation
from openatac.nn.attention import check_attention, make_attention
from openatac.nn.augmented_conv import AttentionAugmentedConv2D
from openatac.nn.local_self_attention import AttentionStem, StandAloneSelfAttention

SELF_ATTENTIONS = ('aa', 'fa')
STAGE_CHANNELS = (64, 128, 256, 512)
EXPANSION = 4


class BottleneckV1bATAC(HybridBlock):
    """1x1, 3x3 (stride, dilation), 1x1 convolutions with a shortcut; output channels 4 * planes.

    ``activation(channels)`` makes relu1 and relu2; relu3, after the addition, stays a ReLU.
    ``attention(channels)``, if given, ends the main path; ``spatial(channels, strides=, dilation=)``, if
    given, makes what takes the 3x3 convolution's place.
    """

    def __init__(self, planes, activation, strides=1, dilation=1, downsample=None, norm_layer=nn.BatchNorm,
                 norm_kwargs=None, last_gamma=False, attention=None, spatial=None, **kwargs):
        super().__init__(**kwargs)
        norm_kwargs = norm_kwargs or {}
        last = dict(norm_kwargs, gamma_initializer='zeros') if last_gamma else norm_kwargs
        self.conv1 = nn.Conv2D(planes, kernel_size=1, use_bias=False)
        self.bn1 = norm_layer(in_channels=planes, **norm_kwargs)
        self.conv2 = (spatial or _conv3x3)(planes, strides=strides, dilation=dilation)
        self.bn2 = norm_layer(in_channels=planes, **norm_kwargs)
        self.conv3 = nn.Conv2D(planes * EXPANSION, kernel_size=1, use_bias=False)
        self.bn3 = norm_layer(in_channels=planes * EXPANSION, **last)
        self.downsample = downsample
        self.relu1 = activation(planes)
        self.relu2 = activation(planes)
        self.relu3 = nn.Activation('relu')
        self.attention = attention(planes * EXPANSION) if attention else None

    def hybrid_forward(self, F, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.attention is not None:
            y = self.attention(y)
        # After the main path: deferred initial values are drawn in the order of execution.
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(y + shortcut)


class ResNet50_v1bATAC(HybridBlock):
    """ResNet v1b of bottlenecks, (B, 3, H, W) to (B, classes) logits.

    act_type : str, default 'ChaATAC'
        The activation under study, a name of `openatac.nn.activations.ACTIVATIONS`. ChaATAC is
        local and has its inner ReLU.
    r : number, default 2
        Channel reduction ratio of ChaATAC.
    act_layers : int, default 2
        The last ``act_layers`` of the four stages get ``act_type``, the others ReLU.
    layers : four ints, default (3, 4, 6, 3)
        Bottlenecks per stage.
    classes : int, default 1000
    dilated : bool
        Stages 3 and 4 keep stride 1, with dilation 2 and 4: output stride 8.
    norm_layer, norm_kwargs, use_global_stats
        The normalisation of the host, its arguments, and whether it uses the running statistics
        in training too. ChaATAC always has its own BatchNorm.
    last_gamma : bool
        Start the scale of each bottleneck's last normalisation at zero.
    deep_stem : bool
        Three 3x3 convolutions of stem_width, stem_width, 2 * stem_width channels in place of the
        7x7 one. (The published code takes the argument and builds no such stem.)
    avg_down : bool
        Average pooling in place of the stride in the shortcut's 1x1 convolution.
    final_drop : float
        Dropout before the last layer.
    name_prefix : str
        Prefix of the parameters' names.
    attention : str, optional
        A name of `openatac.nn.attention.ATTENTIONS`, to end the main path of each bottleneck, as SE does
        in Hu et al., 2018.
    reduction : number, default 16
        Channel reduction ratio of the attention blocks that have one (se, ge, cbam, lca, nin).
    self_attention : 'aa' or 'fa', optional
        'aa': the 3x3 convolutions of the last three stages are attention-augmented (Bello et al., 2019),
        at half the resolution in the second stage. All images must then have the size of the first.
        'fa': all 3x3 convolutions are self-attention in windows of 7 x 7, and the stem is one in blocks of
        4 x 4 (Ramachandran et al., 2019, "full attention"). Images need sides that 4 divides.

    Raises ValueError for arguments that make no network.
    """

    def __init__(self, act_type='ChaATAC', r=2, act_layers=2, layers=(3, 4, 6, 3), classes=1000,
                 dilated=False, norm_layer=nn.BatchNorm, norm_kwargs=None, last_gamma=False,
                 deep_stem=False, stem_width=32, avg_down=False, final_drop=0.0,
                 use_global_stats=False, name_prefix='', attention=None, reduction=16, self_attention=None):
        super().__init__(prefix=name_prefix)
        _check(layers, classes, act_type, stem_width, final_drop)
        check_attention(attention)
        _check_self_attention(self_attention, deep_stem)
        norm_kwargs = dict(norm_kwargs or {})
        if use_global_stats:
            norm_kwargs['use_global_stats'] = True
        norm = partial(norm_layer, **norm_kwargs)
        stem_channels = 2 * stem_width if deep_stem else 64
        activations = [partial(make_activation, name, r=r, useReLU=True, useGlobal=False)
                       for name in place(act_type, 'relu', act_layers)]
        attention = attention and partial(make_attention, attention, reduction=reduction)
        strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))
        with self.name_scope():
            self.conv1 = _stem(stem_width, norm, deep_stem, self_attention)
            self.bn1 = norm(in_channels=stem_channels)
            self.relu = nn.Activation('relu')
            self.maxpool = nn.MaxPool2D(4, 4) if self_attention == 'fa' else nn.MaxPool2D(3, 2, padding=1)
            in_channels = stem_channels
            for index, planes in enumerate(STAGE_CHANNELS):
                stage = _stage(index, layers[index], in_channels, planes, strides[index], dilations[index],
                               avg_down, norm, activation=activations[index], norm_layer=norm_layer,
                               norm_kwargs=norm_kwargs, last_gamma=last_gamma, attention=attention,
                               spatial=_spatial(self_attention, index))
                setattr(self, 'layer%d' % (index + 1), stage)
                in_channels = planes * EXPANSION
            self.avgpool = nn.GlobalAvgPool2D()
            self.flat = nn.Flatten()
            self.drop = nn.Dropout(final_drop) if final_drop else None
            self.fc = nn.Dense(classes, in_units=in_channels)

    def hybrid_forward(self, F, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.flat(self.avgpool(x))
        if self.drop is not None:
            x = self.drop(x)
        return self.fc(x)


def _conv3x3(planes, strides, dilation):
    return nn.Conv2D(planes, kernel_size=3, strides=strides, padding=dilation, dilation=dilation,
                     use_bias=False)


def _spatial(self_attention, index):
    """What stands in the 3x3 convolution's place in stage ``index`` from 0; None for the convolution."""
    if self_attention == 'fa':
        return StandAloneSelfAttention
    if self_attention == 'aa' and index > 0:
        return partial(AttentionAugmentedConv2D, downsample=index == 1)
    return None


def _stem(stem_width, norm, deep_stem, self_attention):
    if self_attention == 'fa':
        return AttentionStem(64)
    if deep_stem:
        return _deep_stem(stem_width, norm)
    return nn.Conv2D(64, kernel_size=7, strides=2, padding=3, use_bias=False)


def _deep_stem(width, norm):
    stem = nn.HybridSequential(prefix='conv1')
    for index, channels in enumerate((width, width, 2 * width)):
        if index:
            stem.add(norm(in_channels=width), nn.Activation('relu'))
        stem.add(nn.Conv2D(channels, kernel_size=3, strides=1 if index else 2, padding=1, use_bias=False))
    return stem


def _downsample(index, channels, stride, avg_down, norm):
    shortcut = nn.HybridSequential(prefix='down%d_' % (index + 1))
    with shortcut.name_scope():
        if avg_down:
            shortcut.add(nn.AvgPool2D(pool_size=stride, strides=stride, ceil_mode=True,
                                      count_include_pad=False))
        shortcut.add(nn.Conv2D(channels, kernel_size=1, strides=1 if avg_down else stride, use_bias=False),
                     norm(in_channels=channels))
    return shortcut


def _stage(index, blocks, in_channels, planes, stride, dilation, avg_down, norm, **block_arguments):
    """``blocks`` bottlenecks; the first has the stride, and in a dilated stage half the dilation."""
    channels = planes * EXPANSION
    downsample = None
    if stride != 1 or in_channels != channels:
        downsample = _downsample(index, channels, stride, avg_down, norm)
    stage = nn.HybridSequential(prefix='layers%d_' % (index + 1))
    with stage.name_scope():
        stage.add(BottleneckV1bATAC(planes, strides=stride, dilation=max(1, dilation // 2),
                                    downsample=downsample, **block_arguments))
        for _ in range(1, blocks):
            stage.add(BottleneckV1bATAC(planes, dilation=dilation, **block_arguments))
    return stage


def _check(layers, classes, act_type, stem_width, final_drop):
    check_counts('layers', layers, 4, BLOCKS)
    check_whole('classes', classes, 1, CLASSES)
    check_whole('stem_width', stem_width, 1, CHANNELS // 2)
    check_number('final_drop', final_drop, low=0, below=1)
    check_activation(act_type)


def _check_self_attention(self_attention, deep_stem):
    if self_attention not in (None, *SELF_ATTENTIONS):
        raise ValueError('self_attention must be one of %s, not %r'
                         % (', '.join(SELF_ATTENTIONS), self_attention))
    if self_attention == 'fa' and deep_stem:
        raise ValueError("self_attention='fa' has a stem of its own: leave out deep_stem")
